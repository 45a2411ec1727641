export GIT_TERMINAL_PROMPT=0
git clone -q https://git.example.com/git/project.git project && cd project && cat words
git fetch -q origin && echo fetched again
git -c user.name=A -c user.email=a@example.com commit -q --allow-empty -m Mine
git push origin main; echo "push ended with $?"

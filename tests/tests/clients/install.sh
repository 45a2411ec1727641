/usr/bin/python3 -m pip install -q --target lib "$PIP_PACKAGE" && ls lib
/usr/bin/npm install --no-progress "$NPM_PACKAGE" >/dev/null && ls node_modules

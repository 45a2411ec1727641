"""What stays when the endpoint and the daemon are killed: sandboxes, commands that run, code contexts. Argument:
before or after."""

import sys

from e2b_code_interpreter import Sandbox

if sys.argv[1] == "before":
    sandbox = Sandbox.create(timeout=600, metadata={"kept": "yes"})
    sandbox.run_code("x = 5; print('said')")
    sandbox.commands.run("echo begun; cat; echo end", background=True, stdin=True, timeout=0)
    Sandbox.create(timeout=600, envs={"A": "b"}, metadata={"kept": "no"})
else:
    [kept, lost] = [Sandbox.list().next_items()[n].sandbox_id for n in (1, 0)]
    sandbox = Sandbox.connect(kept)
    again = sandbox.run_code("print(x); x + 1")
    assert (again.text, again.logs.stdout) == ("6", ["5\n"]), again
    [command] = sandbox.commands.list()
    assert command.args[-1] == "echo begun; cat; echo end", command
    handle = sandbox.commands.connect(command.pid)
    sandbox.commands.send_stdin(command.pid, "word\n")
    sandbox.commands.close_stdin(command.pid)
    assert handle.wait().stdout == "begun\nword\nend\n", "all that it said"
    sandbox.kill()
    sandbox = Sandbox.connect(lost)
    try:
        sandbox.commands.run("true")
    except Exception as error:
        assert "variables" in str(error), error
    else:
        raise AssertionError("its variables are gone")
    sandbox.kill()
print("{}")

"""Runs the source that is its argument in an ipykernel for every line of its standard input, and says how many
seconds each took: from the request until the kernel has answered it and is idle again."""

import sys
import time

from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
client.execute(sys.argv[1], reply=True, timeout=60)
print("ready", flush=True)
for _ in sys.stdin:
    begun = time.perf_counter()
    request = client.execute(sys.argv[1])
    while client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != request:
        pass
    while True:
        message = client.get_iopub_msg(timeout=60)
        state = message["content"].get("execution_state")
        if message["parent_header"].get("msg_id") == request and state == "idle":
            break
    print(time.perf_counter() - begun, flush=True)
client.stop_channels()
manager.shutdown_kernel(now=True)

# Takes every pipe that one user may have open, and then waits to be killed, or leaves.
import sys
import time

from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import unwrap_msg, DBusErrorResponse

NAME = 'org.supervisord.Supervisor1'
manager = DBusAddress('/org/supervisord/Supervisor1', NAME, NAME + '.Manager')
bus = open_dbus_connection('SYSTEM', enable_fds=True)
held = []
body = (sys.argv[1], 'stderr', 0, True)
try:
    for _ in range(33):
        held.append(unwrap_msg(bus.send_and_get_reply(new_method_call(manager, 'Output', 'sstb', body))))
    sys.exit('there is no bound on pipes')
except DBusErrorResponse as error:
    assert error.name == NAME + '.Error.Busy', error.name
if len(held) < 32:
    print('few')
    sys.exit(0)
print('holding', flush=True)
if len(sys.argv) < 3:
    bus.send_message(new_method_call(manager, 'StatusJson', 'su', (sys.argv[1], 60)))
    while True:
        time.sleep(60)

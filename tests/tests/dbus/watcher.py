# Prints every signal as it comes, one JSON array a line: member, path, body. Ends with standard input.
import json
import select
import sys

from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

NAME = 'org.supervisord.Supervisor1'
manager = DBusAddress('/org/supervisord/Supervisor1', NAME, NAME + '.Manager')
bus = open_dbus_connection('SYSTEM')
bus.send_and_get_reply(new_method_call(manager, 'Subscribe', 'b', (sys.argv[1] == 'all',)))
print('listening', flush=True)
while True:
    ready, _, _ = select.select([bus.sock, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    message = bus.receive(timeout=120)
    while message is not None:
        fields = message.header.fields
        if message.header.message_type is MessageType.signal and fields[2] != 'org.freedesktop.DBus':
            print(json.dumps([fields[3], fields[1], message.body], default=str), flush=True)
        try:
            message = bus.receive(timeout=0)
        except TimeoutError:
            message = None

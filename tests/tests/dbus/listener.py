# Prints the signals that come until standard input ends.
import os
import select
import sys

from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection

NAME = 'org.supervisord.Supervisor1'
manager = DBusAddress('/org/supervisord/Supervisor1', NAME, NAME + '.Manager')
bus = open_dbus_connection('SYSTEM')
wish = sys.argv[1]
if wish != 'no':
    bus.send_and_get_reply(new_method_call(manager, 'Subscribe', 'b', (wish == 'all',)))
print('listening', flush=True)
sys.stdin.read()
# Whatever was sent to us before this answer has come before it.
serial = next(bus.outgoing_serial)
bus.send_message(new_method_call(manager, 'Policies'), serial=serial)
while True:
    message = bus.receive(timeout=120)
    if message.header.fields.get(5) == serial:
        break
    if message.header.fields.get(2) == NAME + '.Manager':
        print(message.header.fields[3], message.body[0])

# A session from its making to its end, with jeepney: methods, object, properties, signals.
import sys

from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import DBusErrorResponse
from jeepney import MessageType

PATH = '/org/supervisord/Supervisor1'
NAME = 'org.supervisord.Supervisor1'
manager = DBusAddress(PATH, NAME, NAME + '.Manager')
objects = DBusAddress(PATH, NAME, 'org.freedesktop.DBus.ObjectManager')
bus = open_dbus_connection('SYSTEM', enable_fds=True)
signals = []


def call(address, method, signature=None, body=()):
    request = new_method_call(address, method, signature, body)
    serial = next(bus.outgoing_serial)
    bus.send_message(request, serial=serial)
    while True:
        message = bus.receive(timeout=60)
        if message.header.fields.get(5) == serial:
            if message.header.message_type is MessageType.error:
                raise DBusErrorResponse(message)
            return message.body
        signals.append(message)


def heard(member):
    return [m for m in signals if m.header.fields[3] == member]


def await_signal(matches):
    while not any(matches(m) for m in signals):
        signals.append(bus.receive(timeout=60))


call(manager, 'Subscribe', 'b', (False,))
options = {
    'labels': ('a{ss}', {'k': 'v'}),
    'workspace_bytes': ('t', 1 << 20),
    'time_to_live': ('t', 600),
}
id, path = call(manager, 'CreateSession', 'a{sv}', (options,))
assert path == PATH + '/session/' + id.replace('-', '_'), path
session = DBusAddress(path, NAME, NAME + '.Session')
properties = DBusAddress(path, NAME, 'org.freedesktop.DBus.Properties')
(all_of_it,) = call(properties, 'GetAll', 's', (NAME + '.Session',))
assert all_of_it['State'] == ('s', 'open') and all_of_it['Labels'] == ('a{ss}', {'k': 'v'})
assert all_of_it['WorkspaceBytes'] == ('t', 1 << 20), all_of_it
assert call(manager, 'Session', 's', (id,)) == (all_of_it,)
assert call(manager, 'Sessions', 'b', (False,)) == ([all_of_it],)
(managed,) = call(objects, 'GetManagedObjects')
assert managed == {path: {NAME + '.Session': all_of_it}}, managed

# What runs in it finds what ran before, and is counted.
_, empty = call(session, 'Usage')
for source in ['echo kept > file', 'cat file; sleep 0']:
    argv = ['sh', '-c', source]
    execution, _ = call(manager, 'Submit', 'asa{sv}', (argv, {'session': ('s', id)}))
    (text,) = call(manager, 'StatusJson', 'su', (execution, 60))
    assert '"type":"exited","code":0' in text, text
(pipe,) = call(manager, 'Output', 'sstb', (execution, 'stdout', 0, False))
with pipe.to_file('rb') as file:
    assert file.read() == b'kept\n'
used, inodes = call(session, 'Usage')
assert used > 0 and inodes == empty + 1, (used, inodes, empty)

call(session, 'Extend', 't', (7200,))
(later,) = call(manager, 'Session', 's', (id,))
assert later['ExpiresAt'][1] > all_of_it['ExpiresAt'][1], later
for seconds in [0, 10**9]:
    try:
        call(session, 'Extend', 't', (seconds,))
        sys.exit('extended by %d' % seconds)
    except DBusErrorResponse as error:
        assert error.data[1]['field'] == ('s', 'time_to_live'), error.data
call(session, 'Close')
await_signal(lambda m: m.header.fields[3] == 'InterfacesRemoved' and m.body[0] == path)
(managed,) = call(objects, 'GetManagedObjects')
assert managed == {}, managed
try:
    call(properties, 'GetAll', 's', (NAME + '.Session',))
    sys.exit('it is still there')
except DBusErrorResponse as error:
    assert error.name == 'org.freedesktop.DBus.Error.UnknownObject', error.name

# Its life, as it was told.
states = [m.body[2] for m in heard('SessionChanged')]
assert states[0] == 'open' and states[-1] == 'closed', states
added = [m.body for m in heard('InterfacesAdded') if m.body[0] == path]
assert len(added) == 1 and added[0][1][NAME + '.Session']['Id'] == ('s', id), added
changed = [m.body[1] for m in heard('PropertiesChanged') if m.header.fields[1] == path]
assert any('ExpiresAt' in values for values in changed), changed
assert any(values.get('Executions') == ('t', 1) for values in changed), changed
print('done')

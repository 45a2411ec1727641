# Calls of the wrong kind, too large, too many, too deep. Each gets an answer, and the daemon lives.
import sys

from jeepney import DBusAddress, MessageFlag, new_method_call
from jeepney.io.blocking import open_dbus_connection

NAME = 'org.supervisord.Supervisor1'
PATH = '/org/supervisord/Supervisor1'
manager = DBusAddress(PATH, NAME, NAME + '.Manager')
bus = open_dbus_connection('SYSTEM', enable_fds=True)


def answer(address, method, signature=None, body=()):
    reply = bus.send_and_get_reply(new_method_call(address, method, signature, body), timeout=60)
    return reply.header.fields.get(4, ''), reply.body


def expect(name, address, method, signature=None, body=()):
    got, words = answer(address, method, signature, body)
    assert got.endswith(name), (method, got, words)


expect('Error.TooLarge', manager, 'SubmitJson', 's', ('x' * (5 << 20),))
expect('Error.TooLarge', manager, 'Submit', 'asa{sv}', ([], {'stdin': ('ay', bytes(300 << 10))}))
expect('Error.InvalidArgument', manager, 'SubmitJson', 's', ('[' * (1 << 20),))
expect('Error.InvalidArgument', manager, 'SubmitJson', 's', ('{"argv":[' + '"",' * 1000000 + '""]}',))
expect('Error.InvalidArgument', manager, 'Submit', 'asa{sv}', (['true'], {'env': ('av', [('s', 'a')])}))
expect('Error.InvalidArgument', manager, 'Submit', 'asa{sv}', (['true'], {'limits': ('a{st}', {'memory_max': 2**64 - 1, 'no': 1})}))
expect('Error.PolicyDenied', manager, 'Submit', 'asa{sv}', (['true'], {'limits': ('a{st}', {'memory_max': 2**63})}))
expect('Error.InvalidArgument', manager, 'Submit', 'asa{sv}', ([], {}))
expect('Error.InvalidArgument', manager, 'Output', 'sstb', ('x', 'stdin', 0, False))
expect('Error.InvalidArgument', manager, 'StatusJson', 'su', ('x', 61))
expect('Error.NotFound', manager, 'Status', 's', ('../' * 1000,))
deep = ('v', ('v', ('v', ('v', ('v', ('v', ('s', 'x')))))))
expect('Error.InvalidArgument', manager, 'Submit', 'asa{sv}', (['true'], {'env': deep}))
for method, signature, body in [
    ('Status', 'u', (1,)),
    ('Status', 'ss', ('a', 'b')),
    ('Status', None, ()),
    ('Submit', 'as', (['true'],)),
    ('Submit', 'asa{ss}', (['true'], {})),
    ('Doctor', 's', ('x',)),
]:
    expect('DBus.Error.InvalidArgs', manager, method, signature, body)
expect('UnknownMethod', manager, 'Nothing')
expect('UnknownInterface', DBusAddress(PATH, NAME, NAME + '.Execution'), 'Cancel')
expect('UnknownObject', DBusAddress(PATH + '/execution/x', NAME, 'org.freedesktop.DBus.Peer'), 'Ping')
expect('UnknownObject', DBusAddress('/etc', NAME, 'org.freedesktop.DBus.Introspectable'), 'Introspect')
elsewhere = DBusAddress(PATH + '/execution/ex_aaaaaaaaaaaaaaaaaaaaaaaaaa', NAME, 'org.freedesktop.DBus.Properties')
expect('UnknownObject', elsewhere, 'GetAll', 's', (NAME + '.Execution',))
expect('Error.NotFound', DBusAddress(elsewhere.object_path, NAME, NAME + '.Execution'), 'Cancel')

# Many at once (the bus itself allows 128): each is answered, most with Busy.
serials = []
(_, (execution, _)) = answer(manager, 'Submit', 'asa{sv}', (['sleep', '300'], {}))
for _ in range(100):
    serial = next(bus.outgoing_serial)
    bus.send_message(new_method_call(manager, 'StatusJson', 'su', (execution, 2)), serial=serial)
    serials.append(serial)
busy = 0
while serials:
    reply = bus.receive(timeout=60)
    if reply.header.fields.get(5) in serials:
        serials.remove(reply.header.fields[5])
        name = reply.header.fields.get(4, '')
        assert not name or name.endswith('.Busy'), (name, reply.body)
        busy += bool(name)
assert busy >= 100 - 16 - 1, busy
# Who wants no answer gets none, and is heard all the same.
silent = new_method_call(manager, 'Cancel', 's', (execution,))
silent.header.flags |= MessageFlag.no_reply_expected
bus.send_message(silent)
name, (state,) = answer(manager, 'StatusJson', 'su', (execution, 20))
assert '"cancelled"' in state, state
print('done')

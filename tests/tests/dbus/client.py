# One caller from submission to artifact, with jeepney.
import json
import os
import stat
import sys

from jeepney import DBusAddress, MatchRule, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import DBusErrorResponse

PATH = '/org/supervisord/Supervisor1'
NAME = 'org.supervisord.Supervisor1'
manager = DBusAddress(PATH, NAME, NAME + '.Manager')
objects = DBusAddress(PATH, NAME, 'org.freedesktop.DBus.ObjectManager')
bus = open_dbus_connection('SYSTEM', enable_fds=True)
signals = []


def call(address, method, signature=None, body=(), member_of=None):
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


def contents(descriptor):
    with descriptor.to_file('rb') as file:
        return file.read()


def names(interface):
    return [m.header.fields[3] for m in signals if m.header.fields[2] == interface]


call(manager, 'Subscribe', 'b', (False,))
source = '''
import os, sys
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
open("a.txt", "w").write("artifact")
sys.stdin.read()
'''
options = {
    'language': ('s', 'python'),
    'source': ('s', source),
    'artifacts': ('as', ['*.txt']),
    'limits': ('a{st}', {'wall_time': 20000}),
}
id, path = call(manager, 'Submit', 'asa{sv}', ([], options))
assert path == PATH + '/execution/' + id.replace('-', '_'), path
execution = DBusAddress(path, NAME, NAME + '.Execution')

(pipe,) = call(execution, 'Output', 'stb', ('stdout', 1, True))
assert contents(pipe) == b'ut\n'
(text,) = call(manager, 'StatusJson', 'su', (id, 60))
record = json.loads(text)
assert record['state'] == 'finished' and record['outcome'] == {'type': 'exited', 'code': 0}, record
(pipe,) = call(manager, 'Output', 'sstb', (id, 'both', 0, False))
# In the order in which they were read, which may be in the middle of a line.
assert sorted(contents(pipe)) == sorted(b'out\nerr\n')

kept, refused, truncated = call(execution, 'Artifacts')
assert [(entry[0], entry[1]) for entry in kept] == [('a.txt', 8)] and not refused and not truncated
file, size, digest, media = call(execution, 'Artifact', 's', ('a.txt',))
assert contents(file) == b'artifact' and size == 8 and digest == kept[0][2]
file, *rest = call(manager, 'Artifact', 'ss', (id, 'a.txt'))
assert stat.S_ISFIFO(os.fstat(file.fileno()).st_mode), 'its own file would hold its blocks'
try:
    os.write(file.fileno(), b'x')
    sys.exit('an artifact can be written')
except OSError:
    pass

# Signals came to us by name, in the order of the execution's life.
assert all(m.header.fields[6] == bus.unique_name for m in signals), signals
assert names(NAME + '.Manager')[-1] == 'Finished', names(NAME + '.Manager')
assert names('org.freedesktop.DBus.ObjectManager') == ['InterfacesAdded', 'InterfacesRemoved']
states = [m.body[2] for m in signals if m.header.fields[3] == 'ExecutionChanged']
life = ['queued', 'launching', 'running', 'collecting', 'finished']
assert states == sorted(states, key=life.index) and states[-1] == 'finished', states
changed = [m for m in signals if m.header.fields[3] == 'PropertiesChanged']
assert changed and all(m.header.fields[1] == path for m in changed)
assert changed[-1].body[1]['Outcome'] == ('s', 'exited'), changed[-1].body

# The object manager has what has not finished.
id, path = call(manager, 'Submit', 'asa{sv}', (['sleep', '300'], {}))
(managed,) = call(objects, 'GetManagedObjects')
assert list(managed) == [path], managed
assert managed[path][NAME + '.Execution']['Argv'] == ('as', ['sleep', '300'])
call(DBusAddress(path, NAME, NAME + '.Execution'), 'Cancel')
(managed,) = call(objects, 'GetManagedObjects')
assert managed == {}, managed

# Errors have a name, a sentence and what a program needs.
for options, field in [({'uid': ('u', 0)}, 'uid'), ({'policy': ('s', 'nosuch')}, 'policy')]:
    try:
        call(manager, 'Submit', 'asa{sv}', (['true'], options))
        sys.exit('submitted with %r' % options)
    except DBusErrorResponse as error:
        assert error.name == NAME + '.Error.InvalidArgument', error.name
        assert error.data[1]['field'] == ('s', field) and 'hint' in error.data[1], error.data
try:
    call(manager, 'SubmitJson', 's', ('{"argv": ["true"], "argv": ["id"]}',))
    sys.exit('a key that stands twice was taken')
except DBusErrorResponse as error:
    assert error.name == NAME + '.Error.InvalidArgument', error.name
try:
    call(manager, 'SubmitJson', 's', ('{"argv": ["true"], "wait": true}',))
    sys.exit('a wait was taken')
except DBusErrorResponse as error:
    assert error.data[1]['field'] == ('s', 'wait'), error.data
print('done')

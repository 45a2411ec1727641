# The interface of operations, with jeepney: files by descriptor, input, interpreters, snapshots, changes, receipts.
import io
import json
import os
import sys
import tarfile

from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import DBusErrorResponse

PATH = '/org/supervisord/Supervisor1'
NAME = 'org.supervisord.Supervisor1'
operations = DBusAddress(PATH, NAME, NAME + '.Operations')
bus = open_dbus_connection('SYSTEM', enable_fds=True)


def call(method, signature=None, *body):
    request = new_method_call(operations, method, signature, body)
    serial = next(bus.outgoing_serial)
    bus.send_message(request, serial=serial)
    while True:
        message = bus.receive(timeout=120)
        if message.header.fields.get(5) == serial:
            if message.header.message_type is MessageType.error:
                raise DBusErrorResponse(message)
            (answer,) = message.body
            return json.loads(answer) if isinstance(answer, str) else answer


def refused(code, method, signature, *body):
    try:
        call(method, signature, *body)
    except DBusErrorResponse as error:
        assert error.name == NAME + '.Error.' + code, (method, error.name, error.data)
        return error.data
    sys.exit('%s was done' % method)


def contents(descriptor):
    with descriptor.to_file('rb') as file:
        return file.read()


def in_memory(content):
    descriptor = os.memfd_create('body')
    os.write(descriptor, content)
    return descriptor


def submit(**request):
    return call('Submit', 's', json.dumps(request))


session = call('CreateSession', 's', '{}')['id']

# Bytes as a text, an array, and a file in memory that is larger than a typed call may be.
large = os.urandom(700_000)
body = in_memory(large)
assert call('WriteFile', 'ssa{sv}v', session, 'a dir/ä%.bin', {}, ('h', body))['size'] == len(large)
os.close(body)
entry = call('WriteFile', 'ssa{sv}v', session, 'run.sh', {'executable': ('b', True)}, ('s', '#!/bin/sh\n'))
assert entry['mode'] & 0o111, entry
call('WriteFile', 'ssa{sv}v', session, 'bytes', {}, ('ay', b'\x00\xff'))
assert contents(call('ReadFile', 'ss', session, 'a dir/ä%.bin')) == large
assert contents(call('ReadFile', 'ss', session, 'bytes')) == b'\x00\xff'
names = [entry['path'] for entry in call('ListRoot', 'sa{sv}', session, {})['entries']]
assert names == ['a dir', 'bytes', 'run.sh'], names
page = call('ListRoot', 'sa{sv}', session, {'limit': ('u', 1), 'after': ('s', 'a dir')})
assert [entry['path'] for entry in page['entries']] == ['bytes'], page
assert [e['path'] for e in call('ListDirectory', 'ssa{sv}', session, 'a dir', {})['entries']] == ['a dir/ä%.bin']
call('MakeDirectory', 'ss', session, json.dumps({'path': 'b/c'}))
call('MoveFile', 'ss', session, json.dumps({'from': 'bytes', 'to': 'b/c/bytes'}))
assert call('StatFile', 'ss', session, 'b/c/bytes')['size'] == 2
refused('NotFound', 'StatFile', 'ss', session, 'bytes')
refused('InvalidArgument', 'RemoveFile', 'ssa{sv}', session, 'run.sh', {'forced': ('b', True)})
call('RemoveFile', 'ssa{sv}', session, 'b', {'recursive': ('b', True)})
refused('InvalidArgument', 'StatFile', 'ss', session, '../x')

# What is no file in memory is not read: a pipe could keep the daemon waiting.
reading, writing = os.pipe()
for descriptor in (reading, os.open('/etc/passwd', os.O_RDONLY)):
    hint = refused('InvalidArgument', 'WriteFile', 'ssa{sv}v', session, 'x', {}, ('h', descriptor))
    assert 'memfd_create' in hint[1]['hint'][1], hint

# A workspace goes down through a pipe and up as a file in memory.
archive = contents(call('DownloadArchive', 's', session))
with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
    assert 'run.sh' in [name.removeprefix('./') for name in tar.getnames()], tar.getnames()
other = call('CreateSession', 's', '{}')['id']
body = in_memory(archive)
call('UploadArchive', 'sv', other, ('h', body))
assert contents(call('ReadFile', 'ss', other, 'a dir/ä%.bin')) == large

# Input while it runs, output through a pipe, a pause, a receipt, what was decided.
id = submit(argv=['cat'], stdin_open=True, session=session)['id']
assert call('SendInput', 'sa{sv}v', id, {}, ('s', 'one '))['offset'] == 4
again = call('SendInput', 'sa{sv}v', id, {'offset': ('u', 0)}, ('ay', b'one two'))
assert again['offset'] == 7, again
call('WriteFile', 'ssa{sv}v', session, 'beside', {}, ('s', ''))
assert call('Pause', 'sa{sv}', id, {})['state'] == 'paused'
assert call('Resume', 's', id)['state'] == 'running'
assert call('Input', 's', id)['offset'] == 7
call('CloseInput', 'sa{sv}', id, {'offset': ('t', 7)})
assert call('Status', 'sa{sv}', id, {'wait': ('u', 60)})['state'] == 'finished'
assert contents(call('Output', 'sa{sv}', id, {'stream': ('s', 'stdout')})) == b'one two'
assert call('Receipt', 's', id)['payloadType']
assert call('Decisions', 'sa{sv}', id, {})['records'] is not None
refused('Conflict', 'CloseInput', 'sa{sv}', id, {})

# Changes that are held back.
id = submit(argv=['sh', '-c', 'echo new > new'], session=session, changes='hold', wait=True)['id']
assert [each['path'] for each in call('Changes', 's', id)['changes']] == ['new']
call('ApplyChanges', 's', id)
assert contents(call('ReadFile', 'ss', session, 'new')) == b'new\n'

# An interpreter and its cells, a snapshot, and a session that is made from it.
python = call('CreateInterpreter', 'ss', session, json.dumps({'language': 'python'}))['id']
cell = call('RunCell', 'sss', session, python, json.dumps({'source': 'x = 6\nx * 7'}))
cell = call('Cell', 'ssta{sv}', session, python, cell['number'], {'wait': ('u', 60)})
assert '42' in json.dumps(cell), cell
assert len(call('ListCells', 'ss', session, python)['cells']) == 1
call('CloseInterpreter', 'ss', session, python)
snapshot = call('CreateSnapshot', 'ss', session, '{}')['id']
assert [each['id'] for each in call('ListSnapshots', 's', session)['sessions']] == [snapshot]
fork = call('CreateSession', 's', json.dumps({'from': snapshot}))['id']
assert contents(call('ReadFile', 'ss', fork, 'new')) == b'new\n'

# Any answer can be had by descriptor, too.
asked = ('list_root', [other], {'limit': ('u', 10)}, ('s', ''))
page = json.loads(contents(call('ByDescriptor', 'sasa{sv}v', *asked)))
assert page == call('ListRoot', 'sa{sv}', other, {}), page
written = ('write_file', [other, 'by/name'], {}, ('s', 'words'))
assert json.loads(contents(call('ByDescriptor', 'sasa{sv}v', *written)))['size'] == 5
refused('InvalidArgument', 'ByDescriptor', 'sasa{sv}v', 'no_such', [], {}, ('s', ''))
refused('InvalidArgument', 'ByDescriptor', 'sasa{sv}v', 'session', [], {}, ('s', ''))
refused('InvalidArgument', 'ByDescriptor', 'sasa{sv}v', 'doctor', [], {}, ('s', 'x'))

# What goes on for ever is read for as long as one likes.
with call('Events').to_file('rb') as events:
    assert json.loads(events.readline())
for each in (fork, snapshot, other, session):
    assert call('CloseSession', 's', each)['id'] == each
print('done')

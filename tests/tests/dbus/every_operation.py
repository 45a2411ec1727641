# Calls every method of the interface of operations as it is described, with arguments that name nothing, and says
# which there are, with what became of each.
import sys
import xml.etree.ElementTree as tree

from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

PATH = '/org/supervisord/Supervisor1'
NAME = 'org.supervisord.Supervisor1'
VALUES = {'s': 'x', 't': 1, 'as': [], 'a{sv}': {}, 'v': ('s', 'x')}
bus = open_dbus_connection('SYSTEM', enable_fds=True)


def call(interface, method, signature=None, body=()):
    address = DBusAddress(PATH, NAME, interface)
    return bus.send_and_get_reply(new_method_call(address, method, signature, body), timeout=120)


(xml,) = call('org.freedesktop.DBus.Introspectable', 'Introspect').body
for method in tree.fromstring(xml).findall("interface[@name='%s.Operations']/method" % NAME):
    types = [arg.get('type') for arg in method.findall("arg[@direction='in']")]
    values = [
        '{}' if arg.get('type') == 's' and arg.get('name') == 'body' else VALUES[arg.get('type')]
        for arg in method.findall("arg[@direction='in']")
    ]
    name = method.get('name')
    answer = call(NAME + '.Operations', name, ''.join(types), tuple(values))
    if answer.header.message_type is MessageType.error:
        said = answer.header.fields[4]
    else:
        (given,) = answer.body
        said = 'text' if isinstance(given, str) else 'pipe'
        expected = method.find("arg[@direction='out']").get('type')
        assert said == {'s': 'text', 'h': 'pipe'}[expected], name
    # Of other types it is told so, and nothing is done.
    wrong = call(NAME + '.Operations', name, 'd', (1.0,))
    assert wrong.header.fields[4] == 'org.freedesktop.DBus.Error.InvalidArgs', (name, wrong)
    print(name, said)

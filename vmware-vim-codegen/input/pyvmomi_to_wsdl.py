#!/usr/bin/env python3
"""Turns the type metadata that pyVmomi ships into a vSphere WSDL set with a sidecar.

    pyvmomi_to_wsdl.py PYVMOMI_DIR OUT_DIR [--version vim.version.v9_1_1_0]
    pyvmomi_to_wsdl.py PYVMOMI_DIR OUT_DIR --service pbm      one of the services beside, which imports the set of vim25

PYVMOMI_DIR is an unpacked pyvmomi wheel. Needs nothing but the standard library. The same input gives the same bytes.
The rules that are not obvious are numbered; PROVENANCE.md explains them under the same numbers.
"""

import argparse
import collections
import json
import os
import re
from xml.sax.saxutils import quoteattr

NEWEST = 'vim.version.v9_1_1_0'
API_2_5 = 'vim.version.version2'  # the first version whose namespace is vim25
SERVICE = 'vim25'
# The services beside: the newest version of each that the metadata knows.
BESIDE = {'pbm': 'pbm.version.v9_1_1_0', 'vslm': 'vslm.version.v9_0_0_0'}
# Where their schemas find those of vim25.
VIM25_FOLDER = '../vim25-9.1.1'

FLAGS = {'link': 1, 'linkable': 2, 'optional': 4, 'secret': 8}
LINK, OPTIONAL = FLAGS['link'], FLAGS['optional']

STRING_LIKE = ('vmodl.TypeName', 'vmodl.PropertyPath', 'vmodl.MethodName')
PRIMITIVES = {
    'string': 'xsd:string', 'boolean': 'xsd:boolean', 'byte': 'xsd:byte', 'short': 'xsd:short', 'int': 'xsd:int',
    'long': 'xsd:long', 'float': 'xsd:float', 'double': 'xsd:double', 'anyType': 'xsd:anyType',
    'vmodl.DateTime': 'xsd:dateTime', 'vmodl.Binary': 'xsd:base64Binary', 'vmodl.URI': 'xsd:anyURI',
    **dict.fromkeys(STRING_LIKE, 'xsd:string'),
}

# Wrappers every vSphere schema has, whether or not a property uses them.
ALWAYS_WRAPPED = ('xsd:string', 'xsd:int', 'xsd:long', 'xsd:short', 'xsd:byte', 'xsd:double', 'xsd:float',
                  'xsd:boolean', 'xsd:anyURI', 'xsd:anyType', 'vim25:ManagedObjectReference', 'vim25:MethodFault')

Version = collections.namedtuple('Version', 'service id')
Member = collections.namedtuple('Member', 'name type version flags privilege')
Result = collections.namedtuple('Result', 'flags returned outcome')
Method = collections.namedtuple('Method', 'vmodl wsdl version params result privilege faults')
Type = collections.namedtuple('Type', 'vmodl wsdl parent version fields module')
Enum = collections.namedtuple('Enum', 'vmodl wsdl version values module')
Managed = collections.namedtuple('Managed', 'vmodl wsdl parent version properties methods module')
Element = collections.namedtuple('Element', 'name type min max')
Operation = collections.namedtuple('Operation', 'params result faults module')
Schema = collections.namedtuple('Schema', 'types enums operations arrays')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('pyvmomi')
    parser.add_argument('out')
    parser.add_argument('--version')
    parser.add_argument('--service', choices=BESIDE)
    arguments = parser.parse_args()
    service = arguments.service
    version = arguments.version or BESIDE.get(service, NEWEST)
    metadata = Metadata(arguments.pyvmomi, service)
    schema = metadata.schema(version)
    os.makedirs(arguments.out, exist_ok=True)
    files = dict((beside_files if service else wsdl_files)(metadata, schema, version))
    files[f'{service or "vim"}-sidecar.json'] = json.dumps(sidecar(metadata, version), indent=0)
    for name, text in files.items():
        with open(os.path.join(arguments.out, name), 'w', encoding='utf-8', newline='\n') as file:
            file.write(text)
    fields = sum(len(elements) for _, elements, _ in schema.types.values())
    print(f'{version}: {len(schema.types)} data types with {fields} own fields, {len(schema.enums)} enums, '
          f'{len(schema.operations)} operations, {len(schema.arrays)} array wrappers')


# ---------------------------------------------------------------------------------------------------- reading pyVmomi

class Metadata:
    """What pyVmomi's `_typeinfo_*.py` files say, by vmodl name."""

    def __init__(self, folder, service=None):
        self.service = service
        self.versions = {}
        self.parents = collections.defaultdict(set)
        self.types, self.enums, self.managed = {}, {}, {}
        for module in ('core', 'query', 'vim') + ((service,) if service else ()):
            self._run(folder, module)
        self._add_builtins()

    def _run(self, folder, module):
        """The files are lists of calls; they are run with our own functions under the names they call."""
        def data(vmodl, wsdl, parent, version, fields):
            members = [Member(*field[:4], None) for field in fields or []]
            self.types[vmodl] = Type(vmodl, wsdl, parent, version, members, module)

        def managed(vmodl, wsdl, parent, version, properties, methods):
            self.managed[vmodl] = Managed(vmodl, wsdl, parent, version, [Member(*p[:5]) for p in properties or []],
                                          [method(*m) for m in methods or []], module)

        def method(vmodl, wsdl, version, params, result, privilege, faults):
            return Method(vmodl, wsdl, version, [Member(*p[:5]) for p in params], Result(*result), privilege,
                          faults or [])

        def enum(vmodl, wsdl, version, values):
            self.enums[vmodl] = Enum(vmodl, wsdl, version, list(values), module)

        def version(name, service, identifier, _is_legacy, _service_namespace):
            self.versions[name] = Version(service, identifier)

        class Ignored:
            def Add(self, _version):
                pass

        with open(os.path.join(folder, 'pyVmomi', f'_typeinfo_{module}.py'), encoding='utf-8') as file:
            source = re.sub(r'^from \.VmomiSupport import .*$', '', file.read(), flags=re.M)
        exec(compile(source, module, 'exec'), {
            'CreateDataType': data, 'CreateManagedType': managed, 'CreateEnumType': enum, 'AddVersion': version,
            'AddVersionParent': lambda name, parent: self.parents[name].add(parent),
            'AddBreakingChangesInfo': lambda *_: None,
            **{name: Ignored() for name in ('newestVersions', 'ltsVersions', 'oldestVersions', 'dottedVersions')},
            **{'F_' + name.upper(): value for name, value in FLAGS.items()},
        })

    def _add_builtins(self):
        """Types that pyVmomi creates in code instead of in its tables."""
        first, second = 'vmodl.version.version0', 'vmodl.version.version1'

        def add(name, parent, *fields):
            vmodl = 'vmodl.' + name
            self.types[vmodl] = Type(vmodl, name, parent, first, [Member(*field, None) for field in fields], 'core')

        add('MethodFault', 'vmodl.DataObject',
            ('faultCause', 'vmodl.MethodFault', second, OPTIONAL),
            ('faultMessage', 'vmodl.LocalizableMessage[]', second, OPTIONAL))
        add('RuntimeFault', 'vmodl.MethodFault')
        add('LocalizedMethodFault', 'vmodl.DynamicData',
            ('fault', '=MethodFault', first, 0), ('localizedMessage', 'string', first, OPTIONAL))
        # Rule 4: fields of the root types that do not travel.
        self._keep_fields('vmodl.DynamicData', ())
        self._keep_fields('vmodl.DynamicArray', ('val',))
        self.managed.setdefault('vmodl.ManagedObject',
                                Managed('vmodl.ManagedObject', 'ManagedObject', None, first, [], [], 'core'))

    def _keep_fields(self, vmodl, names):
        kept = self.types[vmodl]
        self.types[vmodl] = kept._replace(fields=[field for field in kept.fields if field.name in names])

    # ------------------------------------------------------------------------------------------------------- versions

    def visible(self, version):
        """Versions whose items are part of `version`. The reflection service has a schema of its own."""
        return {name for name in self.parents[version] | {version} if 'reflect' not in name}

    def short(self, version):
        """Id of a version on the wire; versions of the inner layers have none and keep their name."""
        return self.versions[version].id or version

    def is_own(self, item, visible):
        """Whether the item belongs to the set that is written: a service beside leaves out what it imports."""
        return item.version in visible and (self.service is None or item.module == self.service)

    def qualified(self, item):
        return f'{item.module if item.module in BESIDE else SERVICE}:{item.wsdl}'

    def built_on(self, version):
        """Id of the newest version of vim25 that a version of a service beside builds on; without one, of the oldest."""
        below = [name for name in self.parents[version] | {API_2_5} if self.versions[name].service == SERVICE]
        return self.versions[max(below, key=lambda name: len(self.parents[name]))].id

    def first_with(self, version, visible):
        """Id of the oldest version of the service that contains `version`."""
        having = [name for name in visible
                  if self.versions[name].service == SERVICE and version in self.parents[name] | {name}]
        return self.versions[min(having, key=lambda name: len(self.parents[name]))].id

    def was_added(self, field, owner):
        """Rule 1: whether the field came later than its type. What API 2.5 had counts as there from the start."""
        return field != owner and owner in self.parents[field] and field not in self.parents[API_2_5]

    # ---------------------------------------------------------------------------------------------------------- types

    def is_fault(self, vmodl):
        while vmodl in self.types:
            if vmodl == 'vmodl.MethodFault':
                return True
            vmodl = self.types[vmodl].parent
        return False

    def wire_type(self, vmodl, flags):
        """XML type of one value, and whether there may be many."""
        name, is_array = (vmodl[:-2], True) if vmodl.endswith('[]') else (vmodl, False)
        if name.startswith('='):
            return 'vim25:' + name[1:], is_array
        if flags & LINK:
            return 'xsd:string', is_array  # rule 3
        if name in PRIMITIVES:
            return PRIMITIVES[name], is_array
        if name in self.managed:
            return 'vim25:ManagedObjectReference', is_array
        if name in self.enums:
            return self.qualified(self.enums[name]), is_array
        if self.is_fault(name):
            return 'vim25:LocalizedMethodFault', is_array  # rule 3
        return self.qualified(self.types[name]), is_array

    def element(self, name, vmodl, flags):
        kind, is_array = self.wire_type(vmodl, flags)
        return Element(name, kind, '0' if flags & OPTIONAL else '1', 'unbounded' if is_array else '1')

    def schema(self, version):
        """Everything visible at `version`, in the form it has on the wire."""
        visible = self.visible(version)
        types, enums, operations, arrays = {}, {}, {}, {}

        def use(vmodl, flags, module):
            kind, is_array = self.wire_type(vmodl, flags)
            if is_array:
                arrays.setdefault(kind, module)

        for data in self.types.values():
            if not self.is_own(data, visible):
                continue
            fields = [field for field in data.fields if field.version in visible]
            elements = [self.element(field.name, field.type,
                                     field.flags | (OPTIONAL if self.was_added(field.version, data.version) else 0))
                        for field in fields]
            base = self.qualified(self.types[data.parent]) if data.parent in self.types else None
            types[data.wsdl] = (base, elements, data.module)
            for field in fields:
                use(field.type, field.flags, data.module)
        for enum in self.enums.values():
            if self.is_own(enum, visible):
                enums[enum.wsdl] = (enum.values, enum.module)
        for managed in self.managed.values():
            if not self.is_own(managed, visible):
                continue
            for item in managed.properties:
                if item.version in visible:
                    use(item.type, item.flags, managed.module)
            for method in managed.methods:
                if method.version in visible:
                    operations[method.wsdl] = self._operation(method, managed.module, visible, use)
        if self.service:
            arrays = {kind: module for kind, module in arrays.items() if kind.startswith(self.service + ':')}
        else:
            arrays.update(dict.fromkeys(ALWAYS_WRAPPED, 'core'))
        return Schema(types, enums, operations, arrays)

    def _operation(self, method, module, visible, use):
        params = [Element('_this', 'vim25:ManagedObjectReference', '1', '1')]
        for param in method.params:
            if param.version in visible:
                params.append(self.element(param.name, param.type, param.flags))
                use(param.type, param.flags, module)
        flags, returned, outcome = method.result
        result = None
        if returned != 'void':
            # Rule 2: the flags of a task method describe what the task leaves behind.
            result = self.element('returnval', returned, 0 if method.wsdl.endswith('_Task') else flags)
            use(returned, flags, module)
        if outcome != 'void' and returned != 'void':
            use(outcome, 0, module)
        faults = [self.qualified(self.types[fault]) for fault in method.faults if self.types[fault].version in visible]
        return Operation(params, result, faults, module)


# ---------------------------------------------------------------------------------------------------- writing the WSDL

XML = '<?xml version="1.0" encoding="UTF-8" ?>\n'
SCHEMA_START = """<schema
   targetNamespace="urn:vim25"
   xmlns="http://www.w3.org/2001/XMLSchema"
   xmlns:vim25="urn:vim25"
   xmlns:xsd="http://www.w3.org/2001/XMLSchema"
   elementFormDefault="qualified"
>
"""
SCHEMA_END = '</schema>\n'
DEFINITIONS_START = """<definitions targetNamespace="urn:vim25"
   xmlns="http://schemas.xmlsoap.org/wsdl/"
   xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
   xmlns:vim25="urn:vim25"
   xmlns:xsd="http://www.w3.org/2001/XMLSchema"
>
   <types>
"""
REFERENCE_TYPE = """   <complexType name="ManagedObjectReference">
      <simpleContent>
         <extension base="xsd:string">
            <attribute name="type" type="xsd:string" />
            <attribute name="serverGuid" type="xsd:string" />
         </extension>
      </simpleContent>
   </complexType>
"""
SERVICE_WSDL = XML + """<definitions targetNamespace="urn:vim25Service"
   xmlns="http://schemas.xmlsoap.org/wsdl/"
   xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
   xmlns:interface="urn:vim25"
>
   <import location="vim.wsdl" namespace="urn:vim25" />
   <service name="VimService">
      <port binding="interface:VimBinding" name="VimPort">
         <soap:address location="https://localhost/sdk/vimService" />
      </port>
   </service>
</definitions>
"""


def wsdl_files(metadata, schema, version):
    """Pairs of file name and text."""
    parts = {'core': [], 'query': [], 'vim': []}
    for name, (base, elements, module) in schema.types.items():
        parts[module].append(complex_type(name, base, elements))
    for name, (values, module) in schema.enums.items():
        parts[module].append(enumeration(name, values))
    for kind, module in schema.arrays.items():
        name, item = array_names(kind)
        parts[module].append(complex_type(name, None, [Element(item, kind, '0', 'unbounded')]))

    def types_file(module, includes, extra=''):
        return module + '-types.xsd', schema_file(includes, extra + ''.join(parts[module]))

    def messages_file(module, includes):
        requests = [complex_type(request_type(name), None, operation.params)
                    for name, operation in schema.operations.items() if operation.module == module]
        return module + '-messagetypes.xsd', schema_file(includes, ''.join(requests))

    yield types_file('core', (), REFERENCE_TYPE)
    yield types_file('query', ('core-types',))
    yield types_file('vim', ('query-types', 'core-types'))
    yield messages_file('query', ('query-types', 'core-types'))
    yield messages_file('vim', ('query-types', 'core-types', 'vim-types'))
    embedded = embedded_schema(metadata, schema)
    yield 'vim-schema.xsd', XML + embedded
    yield 'vim.wsdl', wsdl(metadata, schema, version, embedded)
    yield 'vimService.wsdl', SERVICE_WSDL


def beside_files(metadata, schema, version):
    """The same for a service beside: its own types and messages, over the types of vim25 that it imports."""
    service = metadata.service
    imported = f'   <import namespace="urn:vim25" schemaLocation="{VIM25_FOLDER}/vim-types.xsd" />\n'
    types = [complex_type(name, base, elements) for name, (base, elements, _) in schema.types.items()]
    types += [enumeration(name, values) for name, (values, _) in schema.enums.items()]
    for kind in schema.arrays:
        name, item = array_names(kind)
        types.append(complex_type(name, None, [Element(item, kind, '0', 'unbounded')]))
    requests = [complex_type(request_type(name), None, operation.params)
                for name, operation in schema.operations.items()]
    start = beside(SCHEMA_START, service)
    yield f'{service}-types.xsd', XML + start + imported + ''.join(types) + SCHEMA_END
    yield (f'{service}-messagetypes.xsd',
           XML + start + imported + include(f'{service}-types') + ''.join(requests) + SCHEMA_END)
    embedded = start + imported + include(f'{service}-messagetypes') + embedded_elements(metadata, schema)
    yield f'{service}-schema.xsd', XML + embedded
    yield f'{service}.wsdl', wsdl(metadata, schema, version, embedded)


def beside(start, service):
    """The head of a document of vim25, for a service beside."""
    return (start.replace('targetNamespace="urn:vim25"', f'targetNamespace="urn:{service}"')
            .replace('   xmlns:vim25=', f'   xmlns:{service}="urn:{service}"\n   xmlns:vim25='))


def schema_file(includes, body):
    return XML + SCHEMA_START + ''.join(include(name) for name in includes) + body + SCHEMA_END


def embedded_schema(metadata, schema):
    includes = [include(name) for name in ('query-messagetypes', 'core-types', 'vim-messagetypes')]
    return SCHEMA_START + ''.join(includes) + embedded_elements(metadata, schema)


def embedded_elements(metadata, schema):
    own = (metadata.service or SERVICE) + ':'
    text = ['   <element name="versionURI" type="xsd:string" />\n']
    for name, operation in schema.operations.items():
        text.append(f'   <element name={quoteattr(name)} type={quoteattr(own + request_type(name))} />\n')
        text.append(f'   <element name={quoteattr(name + "Response")}>\n')
        if operation.result:
            text.append('      <complexType>\n         <sequence>\n' + element(operation.result, 12)
                        + '         </sequence>\n      </complexType>\n')
        else:
            text.append('      <complexType />\n')
        text.append('   </element>\n')
    for name, kind in fault_names(metadata, schema):
        text.append(f'   <element name={quoteattr(name + "Fault")} type={quoteattr(kind)} />\n')
    return ''.join(text) + SCHEMA_END


def wsdl(metadata, schema, version, embedded):
    service, identifier = metadata.versions[version]
    head = beside(DEFINITIONS_START, service) if metadata.service else DEFINITIONS_START
    title = service.capitalize() if metadata.service else 'Vim'
    text = [XML, head, embedded, '   </types>\n']
    for name in schema.operations:
        text.append(message(service, name + 'RequestMsg', 'parameters', name))
        text.append(message(service, name + 'ResponseMsg', 'parameters', name + 'Response'))
    for name, _ in fault_names(metadata, schema):
        text.append(message(service, name + 'FaultMsg', 'fault', name + 'Fault'))
    text.append(f'   <portType name="{title}PortType">\n')
    for name, operation in schema.operations.items():
        text.append(f'      <operation name="{name}">\n'
                    f'         <input message="{service}:{name}RequestMsg" />\n'
                    f'         <output message="{service}:{name}ResponseMsg" />\n')
        text += [f'         <fault name="{fault}Fault" message="{service}:{fault}FaultMsg"/>\n'
                 for fault in map(local, operation.faults)]
        text.append(f'         <fault name="RuntimeFault" message="{service}:RuntimeFaultFaultMsg"/>\n'
                    '      </operation>\n')
    text.append(f'   </portType>\n   <binding name="{title}Binding" type="{service}:{title}PortType">\n'
                '      <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http" />\n')
    for name, operation in schema.operations.items():
        text.append(f'      <operation name="{name}">\n'
                    f'         <soap:operation soapAction="urn:{service}/{identifier}" style="document" />\n'
                    '         <input><soap:body use="literal" /></input>\n'
                    '         <output><soap:body use="literal" /></output>\n')
        text += [f'         <fault name="{fault}"><soap:fault name="{fault}" use="literal" /></fault>\n'
                 for fault in [local(name) + 'Fault' for name in operation.faults] + ['RuntimeFault']]
        text.append('      </operation>\n')
    text.append('   </binding>\n</definitions>\n')
    return ''.join(text)


def fault_names(metadata, schema):
    """Faults with an element of their own, and their types: those an operation declares and all runtime faults."""
    names = {local(fault): fault for operation in schema.operations.values() for fault in operation.faults}
    names['RuntimeFault'] = 'vim25:RuntimeFault'
    for data in metadata.types.values():
        vmodl = data.vmodl
        while vmodl in metadata.types and vmodl != 'vmodl.RuntimeFault':
            vmodl = metadata.types[vmodl].parent
        if vmodl == 'vmodl.RuntimeFault' and data.wsdl in schema.types:
            names[data.wsdl] = metadata.qualified(data)
    return sorted(names.items())


def local(kind):
    return kind.split(':')[1]


def request_type(operation):
    return operation.removesuffix('_Task') + 'RequestType'


def array_names(kind):
    """Name of the wrapper and of the element in it. Rule 4: only primitives are capitalised."""
    prefix, item = kind.split(':')
    return 'ArrayOf' + (item[0].upper() + item[1:] if prefix == 'xsd' else item), item


def include(name):
    return f'   <include schemaLocation="{name}.xsd" />\n'


def message(service, name, part, target):
    return f'   <message name="{name}">\n      <part name="{part}" element="{service}:{target}" />\n   </message>\n'


def element(item, indent):
    occurs = (' minOccurs="0"' if item.min == '0' else '') + (' maxOccurs="unbounded"' if item.max != '1' else '')
    return ' ' * indent + f'<element name={quoteattr(item.name)} type={quoteattr(item.type)}{occurs} />\n'


def complex_type(name, base, elements):
    if base is None:
        return (f'   <complexType name={quoteattr(name)}>\n      <sequence>\n'
                + ''.join(element(item, 9) for item in elements) + '      </sequence>\n   </complexType>\n')
    return (f'   <complexType name={quoteattr(name)}>\n      <complexContent>\n'
            f'         <extension base={quoteattr(base)}>\n            <sequence>\n'
            + ''.join(element(item, 15) for item in elements)
            + '            </sequence>\n         </extension>\n      </complexContent>\n   </complexType>\n')


def enumeration(name, values):
    return (f'   <simpleType name={quoteattr(name)}>\n      <restriction base="xsd:string">\n'
            + ''.join(f'         <enumeration value={quoteattr(value)} />\n' for value in values)
            + '      </restriction>\n   </simpleType>\n')


# ------------------------------------------------------------------------------------------------- writing the sidecar

def sidecar(metadata, version):
    """What the WSDL cannot say."""
    visible = metadata.visible(version)
    service = metadata.service or SERVICE
    own = {name: v for name, v in metadata.versions.items() if v.service == service and name in visible}

    def ancestors(name):
        return sorted(own[parent].id for parent in metadata.parents[name] if parent in own and parent != name)

    # Versions of a service beside are told by those of vim25, which is what a client agrees on with a server.
    if metadata.service:
        versions = dict(versions={}, aliases={v.id: metadata.built_on(name) for name, v in own.items()})
    else:
        versions = dict(
            versions={v.id: ancestors(name) for name, v in own.items()},
            internal={v.id: name for name, v in own.items()},
            aliases={metadata.short(name): metadata.first_with(name, visible)
                     for name in metadata.versions if name in visible and name not in own})
    return dict(
        service=service,
        version=metadata.versions[version].id,
        **versions,
        managed={item.wsdl: managed_entry(metadata, item, visible)
                 for item in metadata.managed.values() if metadata.is_own(item, visible)},
        data={item.wsdl: data_entry(metadata, item, visible)
              for item in metadata.types.values() if metadata.is_own(item, visible)},
        enums={item.wsdl: dict(vmodl=item.vmodl, since=metadata.short(item.version))
               for item in metadata.enums.values() if metadata.is_own(item, visible)},
    )


def managed_entry(metadata, managed, visible):
    parent = metadata.managed.get(managed.parent)

    def members(items):
        return [dict(name=item.name, type=type_name(metadata, item.type), since=metadata.short(item.version),
                     flags=flag_names(item.flags), privilege=item.privilege)
                for item in items if item.version in visible]

    def method_entry(method):
        outcome = method.result.outcome
        return dict(wsdl=method.wsdl, name=method.vmodl, since=metadata.short(method.version),
                    privilege=method.privilege, task=method.wsdl.endswith('_Task'),
                    result=type_name(metadata, outcome) if outcome != 'void' else None,
                    result_flags=flag_names(method.result.flags), params=members(method.params))

    return dict(vmodl=managed.vmodl, extends=parent.wsdl if parent else None, since=metadata.short(managed.version),
                properties=members(managed.properties),
                methods=[method_entry(method) for method in managed.methods if method.version in visible])


def data_entry(metadata, data, visible):
    def is_lost(field):
        """Whether the schema does not show the field's type."""
        name = field.type.removesuffix('[]')
        return (name in metadata.managed or field.flags & LINK or metadata.is_fault(name) or name in STRING_LIKE)

    def field_entry(field):
        entry = dict(
            since=metadata.short(field.version) if field.version != data.version else None,
            type=type_name(metadata, field.type) if is_lost(field) else None,
            flags=[name for name in flag_names(field.flags) if name != 'optional'],
        )
        return {key: value for key, value in entry.items() if value}

    return dict(vmodl=data.vmodl, since=metadata.short(data.version),
                fields={field.name: field_entry(field) for field in data.fields if field.version in visible})


def type_name(metadata, vmodl):
    name, suffix = (vmodl[:-2], '[]') if vmodl.endswith('[]') else (vmodl, '')
    for table in (metadata.managed, metadata.types, metadata.enums):
        if name in table:
            return table[name].wsdl + suffix
    return PRIMITIVES.get(name, name) + suffix


def flag_names(flags):
    return [name for name, value in FLAGS.items() if flags & value]


if __name__ == '__main__':
    main()

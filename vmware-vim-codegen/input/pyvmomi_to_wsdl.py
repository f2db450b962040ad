#!/usr/bin/env python3
"""Turn pyVmomi's emitted type metadata into a vSphere-style WSDL set + sidecar.

usage: pyvmomi_to_wsdl.py PYVMOMI_DIR OUT_DIR [--version vim.version.v9_1_1_0]
       pyvmomi_to_wsdl.py PYVMOMI_DIR --compare REAL_WSDL_DIR [--version vim.version.version15]
"""
import argparse, collections, json, os, re, sys
import xml.etree.ElementTree as ET
from xml.sax.saxutils import quoteattr as q

F_OPTIONAL, F_LINK, F_LINKABLE, F_SECRET = 'optional', 'link', 'linkable', 'secret'

class Flag(int):
    pass
FLAGV = {'F_LINK': 1, 'F_LINKABLE': 2, 'F_OPTIONAL': 4, 'F_SECRET': 8}
PRIM = {'string': 'xsd:string', 'boolean': 'xsd:boolean', 'int': 'xsd:int', 'long': 'xsd:long',
        'short': 'xsd:short', 'byte': 'xsd:byte', 'float': 'xsd:float', 'double': 'xsd:double',
        'anyType': 'xsd:anyType', 'vmodl.DateTime': 'xsd:dateTime', 'vmodl.Binary': 'xsd:base64Binary',
        'vmodl.URI': 'xsd:anyURI', 'vmodl.TypeName': 'xsd:string', 'vmodl.PropertyPath': 'xsd:string',
        'vmodl.MethodName': 'xsd:string'}

class Model:
    def __init__(self, d):
        self.versions, self.parents = {}, collections.defaultdict(set)
        self.data, self.enums, self.managed = {}, {}, {}
        self.newest = {}
        m = self
        class Mat:
            def __init__(s, n): s.n = n
            def Add(s, v): m.newest.setdefault(s.n, []).append(v)
        def dt(vm, w, p, ver, props):
            m.data[vm] = dict(vmodl=vm, wsdl=w, parent=p, version=ver, props=props or [], mod=m.cur)
        def mt(vm, w, p, ver, props, methods):
            m.managed[vm] = dict(vmodl=vm, wsdl=w, parent=p, version=ver, props=props or [], methods=methods or [], mod=m.cur)
        def en(vm, w, ver, vals):
            m.enums[vm] = dict(vmodl=vm, wsdl=w, version=ver, values=vals, mod=m.cur)
        def av(v, ns, vid, legacy, svc): m.versions[v] = (ns, vid, legacy, svc)
        env = dict(CreateDataType=dt, CreateManagedType=mt, CreateEnumType=en, AddVersion=av,
                   AddVersionParent=lambda v, p: m.parents[v].add(p),
                   AddBreakingChangesInfo=lambda *a: None, **FLAGV)
        for n in ('newestVersions', 'ltsVersions', 'oldestVersions', 'dottedVersions'): env[n] = Mat(n)
        for mod in ('core', 'query', 'vim'):
            m.cur = mod
            src = open(os.path.join(d, 'pyVmomi', f'_typeinfo_{mod}.py')).read()
            src = re.sub(r'^from \.VmomiSupport import .*$', '', src, flags=re.M)
            exec(compile(src, mod, 'exec'), env)
        # built-ins (VmomiSupport.CreateAndLoadMethodFaultType and friends)
        v0, v1 = 'vmodl.version.version0', 'vmodl.version.version1'
        m.cur = 'core'
        dt('vmodl.MethodFault', 'MethodFault', 'vmodl.DataObject', v0,
           [('faultCause', 'vmodl.MethodFault', v1, 4), ('faultMessage', 'vmodl.LocalizableMessage[]', v1, 4)])
        dt('vmodl.RuntimeFault', 'RuntimeFault', 'vmodl.MethodFault', v0, [])
        dt('vmodl.LocalizedMethodFault', 'LocalizedMethodFault', 'vmodl.DynamicData', v0,
           [('fault', '=MethodFault', v0, 0), ('localizedMessage', 'string', v0, 4)])
        m.data['vmodl.DynamicData']['props'] = []   # dynamicType/dynamicProperty are absent from public WSDLs
        m.data['vmodl.DynamicArray']['props'] = [p for p in m.data['vmodl.DynamicArray']['props'] if p[0] == 'val']
        for b in ('vmodl.ManagedObject',):
            m.managed.setdefault(b, dict(vmodl=b, wsdl='ManagedObject', parent=None, version=v0, props=[], methods=[], mod='core'))

    def inside(self, ver):
        """versions whose items are visible in `ver`; drops the reflect namespace (its own schema)"""
        ok = set(self.parents[ver]) | {ver}
        ok = {v for v in ok if 'reflect' not in v}
        return ok

    # --- type mapping -----------------------------------------------------
    def is_fault(self, t):
        while t in self.data:
            if t == 'vmodl.MethodFault': return True
            t = self.data[t]['parent']
        return False

    def xsd(self, t, flags=0):
        """(xsd type, array?) of a vmodl type"""
        arr = t.endswith('[]')
        if arr: t = t[:-2]
        if t.startswith('='): return 'vim25:' + t[1:], arr
        if flags & FLAGV['F_LINK']: return 'xsd:string', arr
        if t in PRIM: return PRIM[t], arr
        if t in self.managed: return 'vim25:ManagedObjectReference', arr
        if t in self.enums: return 'vim25:' + self.enums[t]['wsdl'], arr
        if t == 'vmodl.MethodFault' or self.is_fault(t): return 'vim25:LocalizedMethodFault', arr
        if t in self.data: return 'vim25:' + self.data[t]['wsdl'], arr
        raise KeyError(t)

    def element(self, name, t, flags):
        x, arr = self.xsd(t, flags)
        return (name, x, '0' if flags & 4 else '1', 'unbounded' if arr else '1')

    def later(self, a, b):
        # (vim25 starts at API 2.5 = version2: what 2.5 already had counts as original)
        return a != b and b in self.parents[a] and a not in self.parents['vim.version.version2']

    def vim(self, ver):
        """normalised schema at version `ver`"""
        ok = self.inside(ver)
        types, enums, ops, owner = {}, {}, {}, {}
        modof, arrays = {}, {}
        def use(t, flags, mod):
            x, arr = self.xsd(t, flags)
            if arr: arrays.setdefault(x, mod)
        for d in self.data.values():
            if d['version'] not in ok: continue
            # VMware's own rule: a field added to a type in a later version is optional on the wire
            els = [self.element(p[0], p[1], p[3] | (4 if self.later(p[2], d['version']) else 0)) for p in d['props'] if p[2] in ok]
            base = self.data[d['parent']]['wsdl'] if d['parent'] in self.data else None
            types[d['wsdl']] = (base, els); modof[d['wsdl']] = d['mod']
            for p in d['props']:
                if p[2] in ok: use(p[1], p[3], d['mod'])
        for e in self.enums.values():
            if e['version'] in ok:
                enums[e['wsdl']] = list(e['values']); modof[e['wsdl']] = e['mod']
        for mo in self.managed.values():
            if mo['version'] not in ok: continue
            for p in mo['props']:
                if p[2] in ok: use(p[1], p[3], mo['mod'])
            for (mv, mw, mver, params, res, priv, faults) in mo['methods']:
                if mver not in ok: continue
                els = [('_this', 'vim25:ManagedObjectReference', '1', '1')]
                for p in params:
                    if p[2] in ok:
                        els.append(self.element(p[0], p[1], p[3])); use(p[1], p[3], mo['mod'])
                ret = None
                if res[1] != 'void':
                    ret = self.element('returnval', res[1], 0 if mw.endswith('_Task') else res[0]); use(res[1], res[0], mo['mod'])
                    if res[2] != 'void': use(res[2], 0, mo['mod'])   # a task's result travels as xsd:anyType
                fl = []
                for f in faults or []:
                    d = self.data[f]
                    if d['version'] in ok: fl.append(d['wsdl'])
                ops[mw] = (els, ret, fl); owner[mw] = mo['wsdl']; modof[mw] = mo['mod']
        return dict(types=types, enums=enums, ops=ops, owner=owner, mod=modof, arrays=arrays)

def first_with(m, k, ok):
    """the oldest vim25 version that contains the version `k`"""
    have = [v for v in m.versions if v in ok and m.versions[v][0] == 'vim25' and k in m.parents[v]]
    return min(have, key=lambda v: len(m.parents[v]))

def reqname(op):
    return (op[:-5] if op.endswith('_Task') else op) + 'RequestType'

# ---------------------------------------------------------------- emission
HEAD = '<?xml version="1.0" encoding="UTF-8" ?>\n'
SCH = ('<schema\n   targetNamespace="urn:vim25"\n   xmlns="http://www.w3.org/2001/XMLSchema"\n'
       '   xmlns:vim25="urn:vim25"\n   xmlns:xsd="http://www.w3.org/2001/XMLSchema"\n   elementFormDefault="qualified"\n>\n')

def el(e, ind):
    n, t, mi, ma = e
    return (f'{ind}<element name={q(n)} type={q(t)}' + (' minOccurs="0"' if mi == '0' else '')
            + (' maxOccurs="unbounded"' if ma != '1' else '') + ' />\n')

def ctype(name, base, els):
    if base is None:
        return (f'   <complexType name={q(name)}>\n      <sequence>\n' + ''.join(el(e, ' ' * 9) for e in els)
                + '      </sequence>\n   </complexType>\n')
    return (f'   <complexType name={q(name)}>\n      <complexContent>\n         <extension base={q("vim25:" + base)}>\n'
            '            <sequence>\n' + ''.join(el(e, ' ' * 15) for e in els)
            + '            </sequence>\n         </extension>\n      </complexContent>\n   </complexType>\n')

def array_name(x):
    n = x.split(':')[1]
    return ('ArrayOf' + n[0].upper() + n[1:], n) if x.startswith('xsd:') else ('ArrayOf' + n, n)

def array_set(v):
    arr = dict(v['arrays'])
    for p in ('string', 'int', 'long', 'short', 'byte', 'double', 'float', 'boolean', 'anyURI', 'anyType'):
        arr['xsd:' + p] = 'core'
    arr['vim25:ManagedObjectReference'] = 'core'; arr['vim25:MethodFault'] = 'core'
    return arr

def emit(m, ver, out):
    v = m.vim(ver)
    os.makedirs(out, exist_ok=True)
    ns, vid, _, _ = m.versions[ver]
    W = lambda n, s: open(os.path.join(out, n), 'w').write(s)
    chunks = {'core': [], 'query': [], 'vim': []}
    for n, (b, els) in v['types'].items(): chunks[v['mod'][n]].append(ctype(n, b, els))
    for n, vals in v['enums'].items():
        chunks[v['mod'][n]].append(f'   <simpleType name={q(n)}>\n      <restriction base="xsd:string">\n'
            + ''.join(f'         <enumeration value={q(x)} />\n' for x in vals) + '      </restriction>\n   </simpleType>\n')
    # ArrayOf wrappers (values of xsd:anyType properties); primitives always
    arr = array_set(v)
    for x, mod in arr.items():
        an, en = array_name(x)
        chunks[mod].append(f'   <complexType name={q(an)}>\n      <sequence>\n         <element name={q(en)} type={q(x)} minOccurs="0" maxOccurs="unbounded" />\n      </sequence>\n   </complexType>\n')
    core = (HEAD + SCH + '''   <complexType name="ManagedObjectReference">
      <simpleContent>
         <extension base="xsd:string">
            <attribute name="type" type="xsd:string" />
            <attribute name="serverGuid" type="xsd:string" />
         </extension>
      </simpleContent>
   </complexType>
''' + ''.join(chunks['core']) + '</schema>\n')
    W('core-types.xsd', core)
    W('query-types.xsd', HEAD + SCH + '   <include schemaLocation="core-types.xsd" />\n' + ''.join(chunks['query']) + '</schema>\n')
    W('vim-types.xsd', HEAD + SCH + '   <include schemaLocation="query-types.xsd" />\n   <include schemaLocation="core-types.xsd" />\n' + ''.join(chunks['vim']) + '</schema>\n')
    for mod, inc in (('query', ('query-types', 'core-types')), ('vim', ('query-types', 'core-types', 'vim-types'))):
        W(f'{mod}-messagetypes.xsd', HEAD + SCH + ''.join(f'   <include schemaLocation="{i}.xsd" />\n' for i in inc)
          + ''.join(ctype(reqname(o), None, s[0]) for o, s in v['ops'].items() if v['mod'][o] == mod) + '</schema>\n')
    s = [HEAD, '<definitions targetNamespace="urn:vim25"\n   xmlns="http://schemas.xmlsoap.org/wsdl/"\n   xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"\n   xmlns:vim25="urn:vim25"\n   xmlns:xsd="http://www.w3.org/2001/XMLSchema"\n>\n   <types>\n',
         SCH, '   <include schemaLocation="query-messagetypes.xsd" />\n   <include schemaLocation="core-types.xsd" />\n   <include schemaLocation="vim-messagetypes.xsd" />\n   <element name="versionURI" type="xsd:string" />\n']
    usedf = {}
    for o, (els, ret, fl) in v['ops'].items():
        s.append(f'   <element name={q(o)} type={q("vim25:" + reqname(o))} />\n   <element name={q(o + "Response")}>\n')
        if ret: s.append('      <complexType>\n         <sequence>\n' + el(ret, ' ' * 12) + '         </sequence>\n      </complexType>\n')
        else: s.append('      <complexType />\n')
        s.append('   </element>\n')
        for f in fl: usedf[f] = 1
    for n, (b, _) in v['types'].items():
        if n in usedf or n == 'RuntimeFault': usedf[n] = 1
    # every concrete RuntimeFault can be the detail element too
    for d in m.data.values():
        t = d['vmodl']
        while t in m.data and t != 'vmodl.RuntimeFault': t = m.data[t]['parent']
        if t == 'vmodl.RuntimeFault' and d['wsdl'] in v['types']: usedf[d['wsdl']] = 1
    for f in sorted(usedf): s.append(f'   <element name={q(f + "Fault")} type={q("vim25:" + f)} />\n')
    s.append('</schema>\n   </types>\n')
    for o in v['ops']:
        s.append(f'   <message name="{o}RequestMsg">\n      <part name="parameters" element="vim25:{o}" />\n   </message>\n   <message name="{o}ResponseMsg">\n      <part name="parameters" element="vim25:{o}Response" />\n   </message>\n')
    for f in sorted(usedf): s.append(f'   <message name="{f}FaultMsg">\n      <part name="fault" element="vim25:{f}Fault" />\n   </message>\n')
    s.append('   <portType name="VimPortType">\n')
    for o, (els, ret, fl) in v['ops'].items():
        s.append(f'      <operation name="{o}">\n         <input message="vim25:{o}RequestMsg" />\n         <output message="vim25:{o}ResponseMsg" />\n'
                 + ''.join(f'         <fault name="{f}Fault" message="vim25:{f}FaultMsg"/>\n' for f in fl)
                 + '         <fault name="RuntimeFault" message="vim25:RuntimeFaultFaultMsg"/>\n      </operation>\n')
    s.append('   </portType>\n   <binding name="VimBinding" type="vim25:VimPortType">\n      <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http" />\n')
    for o, (els, ret, fl) in v['ops'].items():
        s.append(f'      <operation name="{o}">\n         <soap:operation soapAction="urn:{ns}/{vid}" style="document" />\n         <input><soap:body use="literal" /></input>\n         <output><soap:body use="literal" /></output>\n'
                 + ''.join(f'         <fault name="{f}"><soap:fault name="{f}" use="literal" /></fault>\n' for f in [x + 'Fault' for x in fl] + ['RuntimeFault']) + '      </operation>\n')
    s.append('   </binding>\n</definitions>\n')
    W('vim.wsdl', ''.join(s))
    W('vimService.wsdl', HEAD + '<definitions targetNamespace="urn:vim25Service"\n   xmlns="http://schemas.xmlsoap.org/wsdl/"\n   xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"\n   xmlns:interface="urn:vim25"\n>\n   <import location="vim.wsdl" namespace="urn:vim25" />\n   <service name="VimService">\n      <port binding="interface:VimBinding" name="VimPort">\n         <soap:address location="https://localhost/sdk/vimService" />\n      </port>\n   </service>\n</definitions>\n')
    # all schema content in one file, for tools that do not read WSDL
    body = ''.join(s)
    inner = body[body.index('<schema'):body.index('</schema>') + 9]
    W('vim-schema.xsd', HEAD + inner + '\n')
    # sidecar -------------------------------------------------------------
    ok = m.inside(ver)
    def vshort(x):
        vv = m.versions.get(x); return (vv[1] if vv and vv[1] else x)
    def tname(t):
        a = t.endswith('[]'); b = t[:-2] if a else t
        for tab in (m.managed, m.data, m.enums):
            if b in tab: b = tab[b]['wsdl']; break
        else: b = PRIM.get(b, b)
        return b + ('[]' if a else '')
    def fl(f): return [k[2:].lower() for k, x in FLAGV.items() if f & x]
    mos = {}
    for mo in m.managed.values():
        if mo['version'] not in ok: continue
        par = m.managed.get(mo['parent'])
        mos[mo['wsdl']] = dict(vmodl=mo['vmodl'], extends=par['wsdl'] if par else None, since=vshort(mo['version']),
            properties=[dict(name=p[0], type=tname(p[1]), since=vshort(p[2]), flags=fl(p[3]), privilege=p[4]) for p in mo['props'] if p[2] in ok],
            methods=[dict(wsdl=x[1], name=x[0], since=vshort(x[2]), privilege=x[5], task=x[1].endswith('_Task'),
                          result=tname(x[4][2]) if x[4][2] != 'void' else None, result_flags=fl(x[4][0]),
                          params=[dict(name=p[0], type=tname(p[1]), since=vshort(p[2]), flags=fl(p[3]), privilege=p[4]) for p in x[3] if p[2] in ok])
                     for x in mo['methods'] if x[2] in ok])
    side = dict(service='vim25', version=vid, versions={vv[1]: sorted(m.versions[p][1] for p in m.parents[k] if m.versions[p][0] == 'vim25' and p != k)
                for k, vv in m.versions.items() if vv[0] == 'vim25' and k in ok},
                internal={vv[1]: k for k, vv in m.versions.items() if vv[0] == 'vim25' and k in ok},
                aliases={vshort(k): m.versions[first_with(m, k, ok)][1] for k, vv in m.versions.items() if vv[0] != 'vim25' and k in ok},
                managed=mos,
                data={d['wsdl']: dict(vmodl=d['vmodl'], since=vshort(d['version']),
                      # only what the schema cannot say: since, moref target type, fault type, link/secret flags, name kinds
                      fields={p[0]: {k: x for k, x in dict(since=vshort(p[2]) if p[2] != d['version'] else None,
                              type=tname(p[1]) if p[1].rstrip('[]') in m.managed or p[3] & 1 or m.is_fault(p[1].rstrip('[]')) or p[1].rstrip('[]') in ('vmodl.TypeName', 'vmodl.PropertyPath', 'vmodl.MethodName') else None,
                              flags=[f for f in fl(p[3]) if f != 'optional'] or None).items() if x} for p in d['props'] if p[2] in ok})
                      for d in m.data.values() if d['version'] in ok},
                enums={e['wsdl']: dict(vmodl=e['vmodl'], since=vshort(e['version'])) for e in m.enums.values() if e['version'] in ok})
    json.dump(side, open(os.path.join(out, 'vim-sidecar.json'), 'w'), indent=0, sort_keys=False)
    npr = sum(len(x['properties']) for x in mos.values()); nme = sum(len(x['methods']) for x in mos.values())
    print(f'{ver} ({ns}/{vid}): data types {len(v["types"])}, enums {len(v["enums"])} ({sum(map(len, v["enums"].values()))} values), '
          f'fields {sum(len(x[1]) for x in v["types"].values())}, operations {len(v["ops"])}, managed types {len(mos)}, managed properties {npr}, managed methods {nme}, array types {len(arr)}')

# ---------------------------------------------------------------- reading a real WSDL
X = '{http://www.w3.org/2001/XMLSchema}'; WS = '{http://schemas.xmlsoap.org/wsdl/}'
def read_real(d):
    types, enums, ops, arrays, msgs = {}, {}, {}, {}, {}
    files = {}
    fel = {}
    resp = {}
    def els(seq):
        return [(e.get('name'), e.get('type'), e.get('minOccurs', '1'), e.get('maxOccurs', '1')) for e in (seq if seq is not None else []) if e.tag == X + 'element']
    def schema(root, fn):
        for c in root:
            if c.tag == X + 'complexType':
                n = c.get('name'); files[n] = fn
                ext = c.find(f'{X}complexContent/{X}extension')
                if ext is not None: types[n] = (ext.get('base').split(':')[1], els(ext.find(X + 'sequence')))
                elif c.find(X + 'simpleContent') is not None: types[n] = ('#simple', [(a.get('name'), a.get('type'), '', '') for a in c.iter(X + 'attribute')])
                else: types[n] = (None, els(c.find(X + 'sequence')))
            elif c.tag == X + 'simpleType':
                enums[c.get('name')] = [e.get('value') for e in c.iter(X + 'enumeration')]; files[c.get('name')] = fn
            elif c.tag == X + 'element':
                n = c.get('name')
                if c.get('type'): fel[n] = c.get('type').split(':')[-1]
                else:
                    e = els(c.find(f'{X}complexType/{X}sequence'))
                    resp[n] = e[0] if e else None
    for fn in ('core-types.xsd', 'query-types.xsd', 'vim-types.xsd', 'query-messagetypes.xsd', 'vim-messagetypes.xsd'):
        p = os.path.join(d, fn)
        if os.path.exists(p): schema(ET.parse(p).getroot(), fn)
    w = ET.parse(os.path.join(d, 'vim.wsdl')).getroot()
    for s in w.iter(X + 'schema'): schema(s, 'vim.wsdl')
    action = set()
    for b in w.iter('{http://schemas.xmlsoap.org/wsdl/soap/}operation'): action.add(b.get('soapAction'))
    req = {n: t for n, t in types.items() if n.endswith('RequestType')}
    for pt in w.iter(WS + 'portType'):
        for o in pt.iter(WS + 'operation'):
            n = o.get('name')
            faults = [f.get('message').split(':')[1][:-len('FaultMsg')] for f in o.iter(WS + 'fault') if f.get('name') != 'RuntimeFault']
            ops[n] = (types[fel[n]][1], resp.get(n + 'Response'), faults); req.pop(fel[n], None)
    arrays = {n: t for n, t in types.items() if n.startswith('ArrayOf')}
    rt = {fel[o] for o in ops}
    types = {n: t for n, t in types.items() if n not in arrays and n not in rt}
    return dict(types=types, enums=enums, ops=ops, arrays=arrays, files=files, action=action, faultel={n: t for n, t in fel.items() if n.endswith('Fault')})

def compare(m, ver, real):
    v = m.vim(ver); r = read_real(real)
    mine_arr = {array_name(x)[0] for x in array_set(v)}
    print('real soapAction', r['action'], '; compared at', ver, m.versions[ver][:2])
    def rep(title, a, b, extra=''):
        print(f'{title}: real {len(a)}, generated {len(b)}, in both {len(set(a) & set(b))}, only real {len(set(a) - set(b))}, only generated {len(set(b) - set(a))}{extra}')
        for t, s in (('only real', sorted(set(a) - set(b))), ('only generated', sorted(set(b) - set(a)))):
            if s: print('   ', t + ':', ', '.join(s[:40]) + (' …' if len(s) > 40 else ''))
    rep('complex types', r['types'], v['types'])
    kinds = collections.Counter(); ex = collections.defaultdict(list); same = 0; nf = fsame = 0
    for n in set(r['types']) & set(v['types']):
        rb, re_ = r['types'][n]; vb, ve = v['types'][n]
        ok = True
        if rb != vb: kinds['base'] += 1; ex['base'].append((n, rb, vb)); ok = False
        ro, vo = [e[0] for e in re_], [e[0] for e in ve]
        if ro != vo:
            k = 'order only' if sorted(ro) == sorted(vo) else 'field set'
            kinds[k] += 1; ex[k].append((n, [x for x in ro if x not in vo], [x for x in vo if x not in ro])); ok = False
        vd = {e[0]: e for e in ve}
        for e in re_:
            nf += 1
            if e[0] in vd:
                if vd[e[0]] == e: fsame += 1
                else:
                    ok = False
                    for i, k in ((1, 'field type'), (2, 'minOccurs'), (3, 'maxOccurs')):
                        if vd[e[0]][i] != e[i]: kinds[k] += 1; ex[k].append((n + '.' + e[0], e[i], vd[e[0]][i]))
        same += ok
    print(f'   equal in every respect: {same}; fields in real {nf}, equal {fsame}; differences {dict(kinds)}')
    for k, l in ex.items():
        for x in l[:12]: print('     ', k, x)
    rep('enums', r['enums'], v['enums'])
    eq = sup = 0; odd = []
    for n in set(r['enums']) & set(v['enums']):
        a, b = r['enums'][n], v['enums'][n]
        if a == b: eq += 1
        elif set(a) <= set(b): sup += 1
        else: odd.append((n, sorted(set(a) - set(b)), sorted(set(b) - set(a))))
    print(f'   equal {eq}, generated is a superset {sup}, other {len(odd)}', odd[:10])
    rep('operations', r['ops'], v['ops'])
    kinds = collections.Counter(); ex = collections.defaultdict(list); same = 0
    for n in set(r['ops']) & set(v['ops']):
        a, b = r['ops'][n], v['ops'][n]; ok = True
        if a[0] != b[0]: kinds['params'] += 1; ex['params'].append((n, [x for x in a[0] if x not in b[0]], [x for x in b[0] if x not in a[0]])); ok = False
        if a[1] != b[1]: kinds['return'] += 1; ex['return'].append((n, a[1], b[1])); ok = False
        if sorted(a[2]) != sorted(b[2]): kinds['faults'] += 1; ex['faults'].append((n, sorted(set(a[2]) - set(b[2])), sorted(set(b[2]) - set(a[2])))); ok = False
        elif a[2] != b[2]: kinds['fault order'] += 1
        same += ok
    print(f'   equal (params, return, fault set): {same}; differences {dict(kinds)}')
    for k, l in ex.items():
        for x in l[:12]: print('     ', k, x)
    rep('ArrayOf types', r['arrays'], {a: 1 for a in mine_arr})
    # array element naming
    bad = [(n, t[1][0][0]) for n, t in r['arrays'].items() if 'ArrayOf' + t[1][0][0][0].upper() + t[1][0][0][1:] != n]
    print('   ArrayOf whose element is not the type name:', bad[:10])

if __name__ == '__main__':
    ap = argparse.ArgumentParser()
    ap.add_argument('pyv'); ap.add_argument('out', nargs='?'); ap.add_argument('--version', default='vim.version.v9_1_1_0'); ap.add_argument('--compare')
    a = ap.parse_args()
    m = Model(a.pyv)
    if a.compare: compare(m, a.version, a.compare)
    else: emit(m, a.version, a.out)

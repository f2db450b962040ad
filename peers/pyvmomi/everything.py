#!/usr/bin/env python3
"""Reads everything that vsphere-sim has to say, with pyvmomi, whose parser is strict.

From the ServiceInstance on, every managed object is visited to which anything refers. Of each, every property that pyvmomi
knows is read as an attribute, which is a call of its own, and walked through to its last value. Then all properties of all
objects of a type are read in one RetrievePropertiesEx, which has to know the same ones. Findings are: any exception,
a reference to what is not there, a required property or field that did not come, a property that one of the two ways
has and the other has not. They are listed, and the exit status is then 1.

usage: everything.py PATH-OF-VSPHERE-SIM [OPTION-OF-VSPHERE-SIM...]        (pip install -r requirements.txt)
"""

import collections
import re
import sys
import tempfile
import time

from pyVim.connect import Disconnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import F_OPTIONAL, DataObject, IsChildVersion, ManagedObject, PropertyPath, UnknownManagedMethod

from peer import new_card, new_controller, new_disk, new_machine_spec
from simulator import Simulator, described

OPTIONS = "--vms 4 --datacenters 2 --clusters 3 --hosts 5 --pools 2 --datastores 4 --networks 3 --folders 2".split()
# What pyvmomi knows and neither VMware's reference nor its description of the API has.
UNPUBLISHED = {("vim.ClusterComputeResource", "summaryEx")}
# Properties that change by themselves between two ways of reading them.
RESTLESS = {("vim.Task", "info"), ("vim.TaskManager", "recentTask")}


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__.splitlines()[-1])
    options = sys.argv[2:] or OPTIONS
    note_what_comes()
    with tempfile.TemporaryDirectory() as data, Simulator(sys.argv[1], data, *options) as simulator:
        service = simulator.log_in()
        walk = Walk(service)
        try:
            for make in MAKERS:
                populate(walk, service, make)
            walk.visit_all()
        finally:
            Disconnect(service)
    sys.exit(not walk.report())


def note_what_comes():
    """Has each data object remember which of its fields were in the answer: pyvmomi itself fills absent booleans and
    numbers with zeroes, even if they are required. Lists are appended to rather than set, and may be empty."""
    original = DataObject.__setattr__

    def noting(self, name, value):
        original(self, name, value)
        self.__dict__.setdefault("_came", set()).add(name)

    DataObject.__setattr__ = noting


class Walk:
    """With `history`, what only tasks and events still refer to may be gone."""

    def __init__(self, service, history=False):
        self.history = history
        self.service, self.version = service, service._stub.version
        self.seen, self.queue, self.absent = {}, collections.deque(), set()
        self.set, self.findings = {}, []
        self.properties = self.values = self.newer = 0

    def visit_all(self):
        """Nothing may change meanwhile: what is read twice has to be the same."""
        self.meet(self.service, "the client")
        while self.queue:
            self.visit(self.queue.popleft())
        self.compare(self.service.content.propertyCollector)

    def meet(self, thing, place):
        if thing._moId == "":
            self.find(place, "a reference without an id")
        elif thing not in self.seen:
            self.seen[thing] = place
            self.queue.append(thing)

    def visit(self, thing):
        self.set[thing] = set()
        for info in thing._GetPropertyList():
            if not IsChildVersion(self.version, info.version):
                self.newer += 1
                continue
            if (type(thing).__name__, info.name) in UNPUBLISHED:
                continue
            place = f"{named(thing)}.{info.name}"
            self.properties += 1
            try:
                value = getattr(thing, info.name)
            except vmodl.fault.ManagedObjectNotFound as fault:
                told_by = self.seen[thing]
                if not (self.history and fault.obj == thing and told_by.startswith(("vim.Task:", "vim.event."))):
                    about = "it" if fault.obj == thing else f"{fault.obj}"
                    self.find(place, f"{about} is not there, though referred to by {told_by}")
                self.absent.add(thing)
                return
            except Exception as error:  # Whatever a client trips over is what is looked for.
                self.find(place, described(error))
                continue
            if value is not None:
                self.set[thing].add(info.name)
                self.go_through(value, info.type, place)
            elif not info.flags & F_OPTIONAL:
                self.find(place, "is required and not set")

    def go_through(self, value, declared, place):
        self.values += 1
        if isinstance(value, ManagedObject):
            self.meet(value, place)
        elif isinstance(value, DataObject):
            came = value.__dict__.get("_came", set())
            for info in value._GetPropertyList():
                inner, held = f"{place}.{info.name}", getattr(value, info.name)
                if isinstance(held, list):
                    if held:
                        self.go_through(held, info.type, inner)
                elif info.name in came:
                    self.go_through(held, info.type, inner)
                    self.check_text(value, info, held, inner)
                elif not info.flags & F_OPTIONAL and IsChildVersion(self.version, info.version):
                    self.find(inner, f"is required in {type(value).__name__} and did not come")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self.go_through(item, declared, f"{place}[{getattr(item, 'key', number)}]")
        elif declared is PropertyPath and not value:
            self.find(place, "is an empty path")
        elif isinstance(value, UnknownManagedMethod):
            # WaitForTask fails on a task with such a name, if it meets it running.
            self.find(place, f"names the method {value.name}, which there is not")

    def check_text(self, owner, info, held, place):
        # Keys and names are what other answers refer to.
        if isinstance(held, str) and held == "" and info.name in ("key", "uuid", "instanceUuid", "guestId", "vmPathName"):
            self.find(place, f"is empty in {type(owner).__name__}")

    def compare(self, collector):
        """All properties at once have to be those that came one by one."""
        by_type = collections.defaultdict(list)
        for thing in self.seen:
            if thing not in self.absent:
                by_type[type(thing)].append(thing)
        Collector = vmodl.query.PropertyCollector
        for kind, things in sorted(by_type.items(), key=lambda item: item[0].__name__):
            spec = Collector.FilterSpec(
                objectSet=[Collector.ObjectSpec(obj=thing) for thing in things],
                propSet=[Collector.PropertySpec(type=kind, all=True)],
            )
            place = f"all of {kind.__name__}"
            try:
                page, found = collector.RetrievePropertiesEx([spec], Collector.RetrieveOptions()), []
                while page:
                    found += page.objects
                    page = page.token and collector.ContinueRetrievePropertiesEx(page.token)
            except Exception as error:  # Whatever a client trips over is what is looked for.
                self.find(place, described(error))
                continue
            if sorted(str(content.obj) for content in found) != sorted(str(thing) for thing in things):
                self.find(place, f"{len(things)} objects were asked for and {len(found)} came, or others")
            for content in found:
                self.compare_object(content)

    def compare_object(self, content):
        place = named(content.obj)
        for absent in content.missingSet:
            self.find(f"{place}.{absent.path}", f"is missing with {type(absent.fault).__name__}")
        names = [prop.name for prop in content.propSet]
        if len(set(names)) < len(names):
            self.find(place, f"has properties twice: {sorted(names)}")
        for prop in content.propSet:
            try:
                declared = content.obj._GetPropertyInfo(prop.name).type
            except AttributeError as error:
                self.find(f"{place}.{prop.name}", described(error))
                continue
            self.go_through(prop.val, declared, f"{place}.{prop.name}")
        together, alone = set(names), self.set.get(content.obj, set())
        for name in sorted(together ^ alone):
            info = content.obj._GetPropertyInfo(name)
            # An empty list may be left out, or come as one.
            if (type(content.obj).__name__, name) not in RESTLESS and not issubclass(info.type, list):
                self.find(f"{place}.{name}", "comes with all=True only" if name in together else "does not come with all=True")

    def find(self, place, what):
        self.findings.append((place, what))

    def report(self):
        """Prints what was found. True if that is nothing."""
        # The same field of many objects is one finding.
        kinds = collections.defaultdict(list)
        for place, what in self.findings:
            kinds[(generalised(place), generalised(what))].append((place, what))
        for (_, _), found in sorted(kinds.items()):
            place, what = found[0]
            print(f"FOUND {place}: {what}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""))
        per_type = collections.Counter(type(thing).__name__ for thing in self.seen)
        print("everything:", ", ".join(f"{count} {name}" for name, count in sorted(per_type.items())))
        print(f"everything: {len(self.seen)} objects of {len(per_type)} types, {self.properties} properties read, "
              f"{self.values} values, {self.newer} properties newer than the server, {len(kinds)} findings "
              f"in {len(self.findings)} places")
        return not self.findings


def named(thing):
    return f"{type(thing).__name__}:{thing._moId}"


def generalised(text):
    """Without the ids and keys, by which the places of one finding differ."""
    return re.sub(r":[^.\s]+", "", re.sub(r"\[[^]]*\]", "[]", text))


def populate(walk, service, make):
    """What makes objects that are not there by themselves, and calls whose answers have to be parsed. What the simulator does
    not have yet is said, and is no finding."""
    try:
        walk.go_through(make(service.content), object, make.__name__)
    except Exception as error:  # Whatever a client trips over is what is looked for.
        # A manager that is absent is an attribute of nothing.
        absent = isinstance(error, AttributeError) and str(error).startswith("'NoneType'")
        if absent or isinstance(error, (vmodl.fault.MethodNotFound, vmodl.fault.NotSupported)):
            print(f"everything: no {make.__name__}: {described(error)}")
        else:
            walk.find(f"making {make.__name__}", described(error))


def machines_of(content):
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    machines = [machine for machine in view.view if not machine.summary.config.template]
    view.Destroy()
    return machines


def history(content):
    """A machine that is on and has snapshots, two of them on one branch, and tasks that tell of it."""
    machine = machines_of(content)[0]
    turn(machine, "poweredOn")
    WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    for name in ("first", "second"):
        WaitForTask(machine.CreateSnapshot_Task(name=name, description="", memory=False, quiesce=False))
    return machine


def failed_task(content):
    machine = machines_of(content)[0]
    task = machine.PowerOnVM_Task()
    while task.info.state not in (vim.TaskInfo.State.error, vim.TaskInfo.State.success):
        time.sleep(0.05)
    return task


def memory_snapshot(content):
    machine = machines_of(content)[1]
    turn(machine, "poweredOn")
    WaitForTask(machine.CreateSnapshot_Task(name="memory", description="", memory=True, quiesce=False))
    return machine


def suspended(content):
    machine = machines_of(content)[1]
    WaitForTask(machine.SuspendVM_Task())
    return machine


def new_devices(content):
    machine = machines_of(content)[2]
    turn(machine, "poweredOff")
    network = machine.network[0] if machine.network else content.rootFolder.childEntity[0].network[0]
    changes = [new_controller(bus=1), new_disk(16, -1, 0), new_card(network)]
    ahci = vim.vm.device.VirtualAHCIController(key=-2, busNumber=0)
    changes.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=ahci))
    WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=changes)))
    return machine


def new_machine(content):
    machine = machines_of(content)[0]
    datacenter = machine.parent
    while not isinstance(datacenter, vim.Datacenter):
        datacenter = datacenter.parent
    spec = new_machine_spec("made by the walk", machine.datastore[0], datacenter.network[0])
    task = datacenter.vmFolder.CreateVM_Task(spec, machine.resourcePool)
    WaitForTask(task)
    return task


def new_template(content):
    machine = machines_of(content)[-1]
    turn(machine, "poweredOff")
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=machine.resourcePool), powerOn=False, template=True)
    task = machine.CloneVM_Task(folder=machine.parent, name="a template", spec=spec)
    WaitForTask(task)
    return task.info.result


def new_folder(content):
    return machines_of(content)[0].parent.CreateFolder("a folder")


def custom_field(content):
    machine = machines_of(content)[0]
    field = content.customFieldsManager.AddCustomFieldDef("a field", vim.VirtualMachine, None, None)
    content.customFieldsManager.SetField(machine, field.key, "a value")
    return field


def permissions(content):
    return content.authorizationManager.RetrieveAllPermissions()


def events(content):
    return content.eventManager.QueryEvents(vim.event.EventFilterSpec())


def sessions(content):
    return content.sessionManager.sessionList


def files(content):
    """All files of a datastore, by whatever kind of them the browser knows."""
    datastore, Browser = machines_of(content)[0].datastore[0], vim.host.DatastoreBrowser
    details = Browser.FileInfo.Details(fileSize=True, fileType=True, fileOwner=True, modification=True)
    task = datastore.browser.SearchDatastoreSubFolders_Task(f"[{datastore.name}]", Browser.SearchSpec(details=details))
    WaitForTask(task)
    return task.info.result


def config_options(content):
    return machines_of(content)[0].environmentBrowser.QueryConfigOption(None, None)


def config_target(content):
    return machines_of(content)[0].environmentBrowser.QueryConfigTarget(None)


def container_view(content):
    return content.viewManager.CreateContainerView(content.rootFolder, [], True)


def list_view(content):
    return content.viewManager.CreateListView(machines_of(content))


def inventory_view(content):
    return content.viewManager.CreateInventoryView()


def property_filter(content):
    Collector = vmodl.query.PropertyCollector
    spec = Collector.FilterSpec(
        objectSet=[Collector.ObjectSpec(obj=content.rootFolder)],
        propSet=[Collector.PropertySpec(type=vim.Folder, pathSet=["name"])],
    )
    return content.propertyCollector.CreateFilter(spec, False)


def property_collector(content):
    return content.propertyCollector.CreatePropertyCollector()


def event_collector(content):
    return content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())


def task_collector(content):
    return content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec())


def lease(content):
    machine = machines_of(content)[-1]
    turn(machine, "poweredOff")
    made = machine.ExportVm()
    while made.state == vim.HttpNfcLease.State.initializing:
        time.sleep(0.05)
    return made


def turn(machine, state):
    if machine.runtime.powerState != state:
        WaitForTask(machine.PowerOnVM_Task() if state == "poweredOn" else machine.PowerOffVM_Task())


MAKERS = (history, failed_task, memory_snapshot, suspended, new_devices, new_machine, new_template, new_folder, custom_field,
          container_view, list_view, inventory_view, property_filter, property_collector, event_collector, task_collector,
          lease, permissions, events, sessions, files, config_options, config_target)


if __name__ == "__main__":
    main()

"""Checks of the managers: sessions, search, properties, tasks, events, fields, permissions, extensions, folders."""

import datetime
import ssl
import time

from pyVim.connect import Disconnect
from pyVim.task import WaitForTask
from pyVmomi import SoapStubAdapter, vim, vmodl

from peer import Collector, check, disks_of, reconfigure, snapshot
from simulator import USER, expect, expect_fault


@check
def session(peer):
    manager = peer.content.sessionManager
    mine = manager.currentSession
    expect(mine.userName.lower() == USER and mine.key and mine.loginTime <= mine.lastActiveTime, f"{mine}")
    # The key of a session is not what proves to be it.
    expect(mine.key not in peer.service._stub.cookie, "the session's key is its cookie")
    if peer.simulator.is_host:
        expect_fault(vmodl.fault.NotImplemented, lambda: manager.SessionIsActive(sessionID=mine.key, userName=mine.userName))
    else:
        expect(manager.SessionIsActive(sessionID=mine.key, userName=mine.userName), "it is not active")
    other = peer.simulator.log_in()
    keys = {listed.key for listed in manager.sessionList}
    theirs = other.content.sessionManager.currentSession.key
    expect({mine.key, theirs} <= keys, f"{keys}")
    manager.TerminateSession(sessionId=[theirs])
    expect_fault(vim.fault.NotAuthenticated, other.CurrentTime)
    expect_fault(vim.fault.InvalidLogin, lambda: manager.Login(USER, peer.simulator.password))


@check
def session_expired(peer):
    """As after half an hour: every call says so, and a new login goes on."""
    other = peer.simulator.log_in()
    machine = vim.VirtualMachine(peer.machine()._moId, other._stub)
    expect(machine.name, "it has no name")
    mine = other.content.sessionManager.currentSession.key
    peer.content.sessionManager.TerminateSession([mine])
    fault = expect_fault(vim.fault.NotAuthenticated, lambda: machine.name)
    expect(fault.object == machine and fault.privilegeId == "System.View", f"{fault}")
    manager = other.content.sessionManager
    expect(manager.currentSession is None, f"{manager.currentSession}")
    manager.Login(USER, peer.simulator.password)
    expect(machine.name, "it has no name after a new login")
    manager.Logout()


@check
def session_cloned(peer):
    ticket = peer.content.sessionManager.AcquireCloneTicket()
    stub = SoapStubAdapter(host=peer.simulator.url.hostname, port=peer.simulator.url.port, version=peer.service._stub.version,
                           thumbprint=peer.simulator.sha256, sslContext=ssl._create_unverified_context())
    content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    mine = content.sessionManager.CloneSession(ticket)
    expect(mine.userName == peer.content.sessionManager.currentSession.userName, f"{mine.userName}")
    expect_fault(vim.fault.InvalidLogin, lambda: content.sessionManager.CloneSession(ticket))
    content.sessionManager.Logout()


@check
def search(peer):
    machine, index = peer.machine(), peer.content.searchIndex
    config = machine.config
    datacenter = peer.datacenter_of(machine)
    expect(index.FindByUuid(None, config.uuid, True, False) == machine, "not found by its BIOS uuid")
    expect(index.FindByUuid(datacenter, config.instanceUuid, True, True) == machine, "not found by its instance uuid")
    expect(list(index.FindAllByUuid(None, config.uuid, True, False)) == [machine], "not found among all")
    expect(index.FindByUuid(None, "00000000-0000-0000-0000-000000000000", True) is None, "what is not there is found")
    expect(index.FindByDatastorePath(datacenter, config.files.vmPathName) == machine, "not found by its file")
    path = f"{datacenter.name}/vm/{machine.name}"
    expect(index.FindByInventoryPath(path) == machine, f"not found as {path}")
    expect(index.FindChild(machine.parent, machine.name) == machine, "not found as a child")
    host = machine.runtime.host
    expect(index.FindByDnsName(None, host.name, False) == host, f"the host is not found as {host.name}")


@check
def search_of_guests(peer):
    machine, index = peer.machine(on=True), peer.content.searchIndex
    expect(machine.guest.ipAddress and machine.guest.hostName, f"{machine.guest}")
    expect(index.FindByIp(None, machine.guest.ipAddress, True) == machine, f"not found by {machine.guest.ipAddress}")
    expect(index.FindByDnsName(None, machine.guest.hostName, True) == machine, f"not found by {machine.guest.hostName}")


@check
def property_updates(peer):
    machine = peer.machine()
    view = peer.content.viewManager.CreateContainerView(peer.content.rootFolder, [vim.VirtualMachine], True)
    walk = Collector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    spec = Collector.FilterSpec(
        objectSet=[Collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
        propSet=[Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["config.annotation", "runtime.powerState", "snapshot"])],
    )
    # Not the one that every session has: WaitForTask makes a filter in it, and moves its version on.
    collector = peer.collector.CreatePropertyCollector()
    collector.CreateFilter(spec, False)
    options = Collector.WaitOptions(maxWaitSeconds=20)
    version, found = "", set()
    while True:
        update = collector.WaitForUpdatesEx(version, options)
        version = update.version
        for change in update.filterSet[0].objectSet:
            expect(change.kind == "enter", f"{change.obj} comes as {change.kind}")
            found.add(change.obj)
        if not update.truncated:
            break
    expect(machine in found and len(found) == len(view.view), f"{len(found)} machines of {len(view.view)}")
    told = collector.WaitForUpdatesEx(version, Collector.WaitOptions(maxWaitSeconds=0))
    expect(told is None, f"nothing has happened, and it says {told}")
    reconfigure(machine, annotation="told of")
    update = collector.WaitForUpdatesEx(version, options)
    changes = {(change.obj, one.name): one for change in update.filterSet[0].objectSet for one in change.changeSet}
    one = changes.get((machine, "config.annotation"))
    expect(one is not None and one.val == "told of" and one.op == "assign", f"{sorted(map(str, changes))}")
    # Asked with the version before, it says the same again.
    again = collector.WaitForUpdatesEx(version, options)
    expect(again.version == update.version, f"{again.version} instead of {update.version}")
    expect_fault(vmodl.query.InvalidCollectorVersion, lambda: collector.WaitForUpdatesEx("9" * 20, options))
    collector.Destroy()
    view.Destroy()


@check
def property_paths(peer):
    machine = peer.machine()

    def read(*paths):
        spec = Collector.FilterSpec(objectSet=[Collector.ObjectSpec(obj=machine)],
                                    propSet=[Collector.PropertySpec(type=vim.VirtualMachine, pathSet=list(paths))])
        found = peer.collector.RetrieveContents([spec])[0]
        return {prop.name: prop.val for prop in found.propSet}

    disk = disks_of(machine)[2000]
    got = read("config.hardware.device[2000].backing", "config.hardware.device[2001]", "snapshot", "name")
    expect(got["config.hardware.device[2000].backing"].fileName == disk.backing.fileName, f"{got}")
    expect(got["config.hardware.device[2001]"].key == 2001 and "snapshot" not in got, f"{sorted(got)}")
    for path in ("config.nothing", "nothing", "config.hardware.nothing"):
        fault = expect_fault(vmodl.query.InvalidProperty, lambda: read(path))
        expect(fault.name, "the fault does not say which property")


@check
def list_views(peer):
    first, second = peer.machine(), peer.machine()
    view = peer.content.viewManager.CreateListView([first])
    expect(list(view.view) == [first], f"{view.view}")
    view.ModifyListView(add=[second], remove=[first])
    expect(list(view.view) == [second], f"{view.view}")
    view.ResetListView([first, second])
    expect(set(view.view) == {first, second}, f"{view.view}")
    expect(view in peer.content.viewManager.viewList, "the manager does not list it")
    view.Destroy()
    expect_fault(vmodl.fault.ManagedObjectNotFound, lambda: view.view)


@check
def task_info(peer):
    machine = peer.machine()
    task = machine.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="task"))
    WaitForTask(task)
    info = task.info
    expect(info.entity == machine and info.entityName == machine.name, f"{info}")
    expect(info.name.info.name == "Reconfigure" and info.descriptionId == "VirtualMachine.reconfigure", f"{info}")
    expect(isinstance(info.reason, vim.TaskReasonUser) and info.reason.userName.lower() == USER.lower(), f"{info.reason}")
    expect(info.queueTime <= info.startTime <= info.completeTime, f"{info}")
    expect(task in machine.recentTask and task in peer.content.taskManager.recentTask, "it is not among the recent ones")
    failing = machine.PowerOffVM_Task()
    expect_fault(vim.fault.InvalidPowerState, lambda: WaitForTask(failing))
    expect(failing.info.state == "error" and failing.info.error.msg, f"{failing.info}")


@check
def task_history(peer):
    machine = peer.machine()
    reconfigure(machine, annotation="history")
    entity = vim.TaskFilterSpec.ByEntity(entity=machine, recursion="self")
    collector = peer.content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec(entity=entity))
    read = list(collector.ReadNextTasks(10))
    expect({info.entity for info in read} == {machine}, "tasks of other machines have come")
    expect("VirtualMachine.reconfigure" in {info.descriptionId for info in read}, f"{[info.descriptionId for info in read]}")
    expect(collector.ReadNextTasks(10) == [], "they come twice")
    collector.DestroyCollector()


@check
def task_cancel(peer):
    machine = peer.machine()
    task = machine.CreateSnapshot_Task(name="called back", description="", memory=False, quiesce=False)
    if not task.info.cancelable:
        WaitForTask(task)
        return
    task.CancelTask()
    expect_fault(vmodl.fault.RequestCanceled, lambda: WaitForTask(task))
    expect(task.info.cancelled and machine.snapshot is None, f"{task.info}")


@check
def task_of_an_extension(peer):
    """A backup program's own task, which it moves along itself."""
    machine = peer.machine()
    extension = vim.Extension(
        key="com.example.peer.tasks", version="1", description=vim.Description(label="peer", summary="peer"),
        lastHeartbeatTime=datetime.datetime.now(datetime.timezone.utc),
        taskList=[vim.Extension.TaskTypeInfo(taskID="com.example.peer.backup")],
    )
    peer.content.extensionManager.RegisterExtension(extension)
    task = peer.content.taskManager.CreateTask(machine, "com.example.peer.backup", "peer", True).task
    task.SetTaskState(vim.TaskInfo.State.running)
    task.UpdateProgress(40)
    expect(task.info.state == "running" and task.info.progress == 40, f"{task.info}")
    task.SetTaskState(vim.TaskInfo.State.success)
    WaitForTask(task)
    peer.content.extensionManager.UnregisterExtension("com.example.peer.tasks")


@check
def events(peer):
    machine = peer.machine()
    WaitForTask(machine.PowerOnVM_Task())
    manager = peer.content.eventManager
    entity = vim.event.EventFilterSpec.ByEntity(entity=machine, recursion="self")
    found = manager.QueryEvents(vim.event.EventFilterSpec(entity=entity))
    on = [event for event in found if isinstance(event, vim.event.VmPoweredOnEvent)]
    expect(len(on) == 1 and on[0].vm.vm == machine and on[0].vm.name == machine.name, f"{[type(event) for event in found]}")
    expect(on[0].fullFormattedMessage and on[0].createdTime and on[0].key > 0 and on[0].userName, f"{on[0]}")
    kinds = vim.event.EventFilterSpec(entity=entity, eventTypeId=["VmSuspendedEvent"])
    expect(manager.QueryEvents(kinds) == [], "it was never suspended")
    collector = manager.CreateCollectorForEvents(vim.event.EventFilterSpec(entity=entity))
    expect(len(collector.ReadNextEvents(1000)) == len(found), "the collector has others")
    manager.LogUserEvent(machine, "a user says so")
    latest = collector.ReadNextEvents(10)
    said = [event for event in latest if isinstance(event, vim.event.GeneralUserEvent)]
    expect([event.message for event in said] == ["a user says so"], f"{latest}")
    collector.DestroyCollector()
    expect(peer.content.eventManager.latestEvent.key >= on[0].key, "the latest is older")


@check
def custom_fields(peer):
    machine, manager = peer.machine(), peer.content.customFieldsManager
    field = manager.AddCustomFieldDef("backup.last", vim.VirtualMachine, None, None)
    expect({one.key: one.name for one in manager.field}.get(field.key) == "backup.last", f"{manager.field}")
    fault = expect_fault(vim.fault.DuplicateName, lambda: manager.AddCustomFieldDef("backup.last", vim.VirtualMachine))
    expect(fault.name == "backup.last", f"{fault.name}")
    manager.SetField(machine, field.key, "yesterday")
    expect({value.key: value.value for value in machine.value} == {field.key: "yesterday"}, f"{machine.value}")
    expect([value.value for value in machine.summary.customValue] == ["yesterday"], f"{machine.summary.customValue}")
    machine.setCustomValue("backup.last", "today")
    expect({value.key: value.value for value in machine.customValue} == {field.key: "today"}, f"{machine.customValue}")
    expect(field.key in {one.key for one in machine.availableField}, "the machine does not offer it")
    manager.RenameCustomFieldDef(field.key, "backup.latest")
    expect("backup.latest" in {one.name for one in manager.field}, f"{manager.field}")
    manager.RemoveCustomFieldDef(field.key)
    expect(machine.value == [], f"{machine.value}")


@check
def permissions(peer):
    machine, manager = peer.machine(), peer.content.authorizationManager
    roles = {role.name: role for role in manager.roleList}
    expect({"Admin", "ReadOnly", "NoAccess"} <= set(roles), f"{sorted(roles)}")
    expect({"System.View", "System.Read", "System.Anonymous"} <= set(roles["ReadOnly"].privilege), f"{roles['ReadOnly']}")
    known = {privilege.privId for privilege in manager.privilegeList}
    wanted = {"VirtualMachine.State.CreateSnapshot", "VirtualMachine.Config.ChangeTracking", "VirtualMachine.Provisioning.DiskRandomRead"}
    expect(wanted <= known, f"not known: {wanted - known}")
    # What is needed to come out of it again is left to us.
    granted = sorted(wanted | {"Authorization.ModifyPermissions"})
    key = manager.AddAuthorizationRole("Backup", granted)
    expect_fault(vim.fault.AlreadyExists, lambda: manager.AddAuthorizationRole("Backup", []))
    given = vim.AuthorizationManager.Permission(principal=USER, group=False, roleId=key, propagate=True)
    manager.SetEntityPermissions(machine, [given])
    held = manager.RetrieveEntityPermissions(machine, False)
    expect([(one.roleId, one.entity) for one in held] == [(key, machine)], f"{held}")
    expect(len(manager.RetrieveEntityPermissions(machine, True)) > len(held), "nothing is inherited")
    expect([one.entity for one in manager.RetrieveRolePermissions(key)] == [machine], "the role is not in use")
    me = peer.content.sessionManager.currentSession.key
    ids = ["VirtualMachine.State.CreateSnapshot", "VirtualMachine.Interact.PowerOn"]
    answers = manager.HasPrivilegeOnEntities([machine], me, ids)[0].privAvailability
    expect([one.isGranted for one in answers] == [True, False], f"{answers}")
    snapshot(machine, "allowed")
    fault = expect_fault(vim.fault.NoPermission, lambda: WaitForTask(machine.PowerOnVM_Task()))
    expect((fault.privilegeId, fault.object) == ("VirtualMachine.Interact.PowerOn", machine), f"{fault}")
    manager.UpdateAuthorizationRole(key, "Backup and more", granted + ["VirtualMachine.Interact.PowerOn"])
    WaitForTask(machine.PowerOnVM_Task())
    manager.RemoveEntityPermission(machine, held[0].principal, False)
    expect(manager.RetrieveEntityPermissions(machine, False) == [], "it is there still")
    manager.RemoveAuthorizationRole(key, True)
    expect("Backup and more" not in {role.name for role in manager.roleList}, "the role is there still")


@check
def groups(peer):
    directory, manager, group = peer.content.userDirectory, peer.content.authorizationManager, "readers@vsphere.local"

    def found(text="", of_group=None, of_user=None, exact=False):
        several = directory.RetrieveUserGroups(searchStr=text, exactMatch=exact, findUsers=True, findGroups=True,
                                               belongsToGroup=of_group, belongsToUser=of_user)
        return [(one.principal, one.group) for one in several]

    expect(found("READERS") == [(group, True)], f"{found('READERS')}")
    expect(found(of_group=group) == [("reader@vsphere.local", False)], f"{found(of_group=group)}")
    expect(found(of_user="VSPHERE.LOCAL\\reader") == [(group, True)], "the user is in no group")
    expect_fault(vim.fault.NotFound, lambda: found(of_group="nobody@vsphere.local"))
    machine = peer.machine()
    service = peer.simulator.log_in(user="reader@vsphere.local")
    try:
        seen = vim.VirtualMachine(machine._moId, service._stub)
        expect((seen.name, list(seen.effectiveRole)) == (machine.name, [-2]), f"{seen.effectiveRole}")
        fault = expect_fault(vim.fault.NoPermission, lambda: snapshot(seen, "refused"))
        expect(fault.privilegeId == "VirtualMachine.State.CreateSnapshot", f"{fault}")
        given = vim.AuthorizationManager.Permission(principal=group, group=True, roleId=-1, propagate=True)
        manager.SetEntityPermissions(machine, [given])
        snapshot(seen, "allowed")
        manager.RemoveEntityPermission(machine, group, True)
        expect_fault(vim.fault.NoPermission, lambda: snapshot(seen, "refused again"))
    finally:
        Disconnect(service)


@check
def extensions(peer):
    manager, key = peer.content.extensionManager, "com.example.peer"
    made = vim.Extension(key=key, version="1.0", company="example", description=vim.Description(label="peer", summary="peer"),
                         lastHeartbeatTime=datetime.datetime.now(datetime.timezone.utc))
    manager.RegisterExtension(made)
    expect_fault(vmodl.fault.InvalidArgument, lambda: manager.RegisterExtension(made))
    expect(manager.FindExtension(key).version == "1.0", "it is not found")
    made.version = "2.0"
    manager.UpdateExtension(made)
    expect({one.key: one.version for one in manager.extensionList}.get(key) == "2.0", "it is not listed")
    # Machines carry the mark of who looks after them.
    machine = peer.machine()
    reconfigure(machine, managedBy=vim.ext.ManagedByInfo(extensionKey=key, type="appliance"))
    expect(machine.config.managedBy.extensionKey == key, f"{machine.config.managedBy}")
    manager.UnregisterExtension(key)
    expect(manager.FindExtension(key) is None, "it is found still")


@check
def folders(peer):
    machine = peer.machine()
    top = peer.datacenter_of(machine).vmFolder
    made = top.CreateFolder("made here")
    expect("VirtualMachine" in made.childType and made.parent == top, f"{made.childType}")
    fault = expect_fault(vim.fault.DuplicateName, lambda: top.CreateFolder("made here"))
    expect(fault.object == made, f"the fault names {fault.object}")
    WaitForTask(made.MoveIntoFolder_Task([machine]))
    expect(machine.parent == made and list(made.childEntity) == [machine], f"{machine.parent}")
    WaitForTask(made.Rename_Task("called otherwise"))
    expect(made.name == "called otherwise", f"it is called {made.name}")
    WaitForTask(top.MoveIntoFolder_Task([machine]))
    WaitForTask(made.Destroy_Task())
    expect_fault(vmodl.fault.ManagedObjectNotFound, lambda: made.name)


@check
def clocks(peer):
    first = peer.service.CurrentTime()
    time.sleep(0.01)
    expect(first.tzinfo is not None and first <= peer.service.CurrentTime(), "time goes backwards")
    taken = snapshot(peer.machine(), "when")
    expect(taken.vm.snapshot.rootSnapshotList[0].createTime >= first, "it was taken before it was asked for")


@check
def environment(peer):
    """What a restore asks before it makes a machine."""
    machine = peer.machine()
    browser = machine.environmentBrowser
    default = [option for option in browser.QueryConfigOptionDescriptor() if option.defaultConfigOption]
    expect(len(default) == 1 and default[0].host, f"{default}")
    option = browser.QueryConfigOption()
    expect(option.version == default[0].key and option.guestOSDescriptor and option.hardwareOptions.hwVersion, f"{option.version}")
    target = browser.QueryConfigTarget()
    expect({store.name for store in target.datastore} == {store.name for store in peer.datacenter_of(machine).datastore},
           "not the datacenter's datastores")
    expect(target.network[0].network.network and browser.QueryTargetCapabilities().vmotionSupported, "no network")
    expect(browser.datastoreBrowser.datastore, "no datastore to browse")


@check
def datastores_of_a_host(peer):
    host = peer.all_of(vim.HostSystem)[0]
    system = host.configManager.datastoreSystem
    spec = vim.host.NasVolume.Specification(remoteHost="nas.example", remotePath="/exports/peer", localPath="peer-nas",
                                            accessMode="readWrite")
    made = system.CreateNasDatastore(spec)
    expect(made.summary.type == "NFS" and made.info.nas.remotePath == "/exports/peer", f"{made.summary}")
    expect_fault(vim.fault.AlreadyExists, lambda: system.CreateNasDatastore(
        vim.host.NasVolume.Specification(remoteHost="nas.example", remotePath="/exports/peer", localPath="other", accessMode="readWrite")))
    expect_fault(vim.fault.ResourceInUse, lambda: system.RemoveDatastore(peer.machine().datastore[0]))
    pod = peer.datacenter_of(host).datastoreFolder.CreateStoragePod("peer-pod")
    WaitForTask(pod.MoveIntoFolder_Task([made]))
    placement = vim.storageDrs.StoragePlacementSpec(
        type="create", podSelectionSpec=vim.storageDrs.PodSelectionSpec(storagePod=pod))
    advice = peer.content.storageResourceManager.RecommendDatastores(placement)
    expect(advice.recommendations[0].action[0].destination == made, f"{advice}")
    system.RemoveDatastore(made)
    expect(made not in host.datastore, "it is still there")


@check
def guest_operations(peer):
    machine = peer.machine(on=True)
    manager = peer.content.guestOperationsManager
    login = vim.vm.guest.NamePasswordAuthentication(username="root", password="secret", interactiveSession=False)
    expect_fault(vim.fault.GuestOperationsUnavailable,
                 lambda: manager.authManager.ValidateCredentialsInGuest(machine, login))
    expect_fault(vim.fault.GuestOperationsUnavailable, lambda: manager.processManager.StartProgramInGuest(
        machine, login, vim.vm.guest.ProcessManager.ProgramSpec(programPath="/sbin/freeze", arguments="")))


@check
def inventory_view_and_licenses(peer):
    view = peer.content.viewManager.CreateInventoryView()
    root = peer.content.rootFolder
    expect(list(view.view) == [root], f"{view.view}")
    expect(not view.OpenInventoryViewFolder([root]), "the root is not there")
    expect(root.childEntity[0] in view.view, "what is in the root does not show")
    view.CloseInventoryViewFolder([root])
    expect(list(view.view) == [root], f"{view.view}")
    view.Destroy()
    assigned = peer.content.licenseManager.licenseAssignmentManager.QueryAssignedLicenses()
    expect(len(assigned) == 1 + len(peer.all_of(vim.HostSystem)), f"{assigned}")


def folded(whole, path, change):
    """Applies a partial update to the value of a property; `path` is what follows the property's own."""
    head, _, rest = path.lstrip(".").partition(".") if path.startswith(".") else ("", "", "")
    if path.startswith("["):
        key, _, rest = path[1:].partition("]")
        at = next((at for at, item in enumerate(whole) if str(item.key) == key.strip('"')), None)
        if rest:
            folded(whole[at], rest, change)
        elif change.op == "remove":
            del whole[at]
        elif at is None:
            whole.append(change.val)
        else:
            whole[at] = change.val
        return
    name, bracket, key = head.partition("[")
    # A key may hold dots.
    if bracket:
        inside = path.lstrip(".")[len(name):]
        folded(getattr(whole, name), inside, change)
    elif rest:
        folded(getattr(whole, name), "." + rest, change)
    else:
        setattr(whole, name, change.val if change.val is not None else type(getattr(whole, name))() if
                isinstance(getattr(whole, name), list) else None)


@check
def partial_updates(peer):
    """A client that applies what it is told inside of a configuration has what it would read."""
    machine = peer.tracked()
    collector = peer.collector.CreatePropertyCollector()
    spec = Collector.FilterSpec(
        objectSet=[Collector.ObjectSpec(obj=machine)],
        propSet=[Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["config"])])
    collector.CreateFilter(spec, True)
    told = collector.WaitForUpdatesEx("", Collector.WaitOptions(maxWaitSeconds=0))
    config = told.filterSet[0].objectSet[0].changeSet[0].val
    version, names = told.version, set()

    def catch_up():
        nonlocal version
        while (told := collector.WaitForUpdatesEx(version, Collector.WaitOptions(maxWaitSeconds=0))) is not None:
            version = told.version
            for change in told.filterSet[0].objectSet[0].changeSet:
                names.add(change.name)
                folded(config, change.name[len("config"):], change)
        now = machine.config
        expect(str(config) == str(now), "what was folded is not what is read")

    reconfigure(machine, annotation="told in part")
    catch_up()
    expect("config.annotation" in names and "config" not in names, f"{names}")
    reconfigure(machine, extraConfig=[vim.option.OptionValue(key="guestinfo.peer", value="1")])
    catch_up()
    snapshot(machine, "in part")
    catch_up()
    expect("config.hardware.device[2000].backing.fileName" in names, f"{names}")
    WaitForTask(machine.RemoveAllSnapshots_Task())
    catch_up()
    collector.Destroy()

#!/usr/bin/env python3
"""What peers/folder/run asks of vsphere-sim by SOAP, with VMware's own client. Prints the answer, one thing a line.

usage: soap.py URL USER snapshot VM NAME     password in PEER_PASSWORD; the snapshot's id
       soap.py URL USER power-off VM
       soap.py URL USER ticket METHOD URL    the id of a ticket for that one request
       soap.py URL USER chain VM DISK        the files of a live disk, the top link first
       soap.py URL USER browse               looks through all datastores
"""

import os
import ssl
import sys
import urllib.parse

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

Browser = vim.host.DatastoreBrowser


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    url, user, command, *rest = sys.argv[1:]
    url = urllib.parse.urlsplit(url)
    service = SmartConnect(
        host=url.hostname,
        port=url.port,
        user=user,
        pwd=os.environ["PEER_PASSWORD"],
        sslContext=ssl._create_unverified_context(),
    )
    try:
        COMMANDS[command](service.RetrieveContent(), *rest)
    finally:
        Disconnect(service)


def snapshot(content, vm, name):
    task = machine(content, vm).CreateSnapshot_Task(name=name, memory=False, quiesce=False)
    WaitForTask(task)
    print(task.info.result._moId)


def power_off(content, vm):
    WaitForTask(machine(content, vm).PowerOffVM_Task())


def ticket(content, method, url):
    spec = vim.SessionManager.HttpServiceRequestSpec(method=method, url=url)
    print(content.sessionManager.AcquireGenericServiceTicket(spec).id)


def chain(content, vm, disk):
    """The descriptors are known by the machine, their extents by the browser of their datastore."""
    machine_ = machine(content, vm)
    devices = [device for device in machine_.config.hardware.device if device.key == int(disk)]
    backing = devices[0].backing
    while backing is not None:
        path = backing.fileName
        print(path)
        folder, name = path.rsplit("/", 1)
        flags = Browser.VmDiskQuery.Details(diskType=True, capacityKb=True, hardwareVersion=True, diskExtents=True)
        spec = Browser.SearchSpec(query=[Browser.VmDiskQuery(details=flags)], matchPattern=[name])
        task = backing.datastore.browser.SearchDatastore_Task(folder, spec)
        WaitForTask(task)
        found = task.info.result.file
        expect(len(found) == 1 and found[0].capacityKb * 1024 == backing_size(devices[0]), found)
        for extent in found[0].diskExtents:
            print(extent)
        backing = backing.parent


def backing_size(device):
    return device.capacityInKB * 1024


def browse(content):
    """Every query with every detail: the parser of this client refuses an answer that leaves something out."""
    for datacenter in content.rootFolder.childEntity:
        for datastore in datacenter.datastore:
            browser = datastore.browser
            expect([store._moId for store in browser.datastore] == [datastore._moId], browser.datastore)
            supported = {type(query) for query in browser.supportedType}
            expect(Browser.VmDiskQuery in supported and Browser.FolderQuery in supported, supported)
            disks = Browser.VmDiskQuery.Details(
                diskType=True,
                capacityKb=True,
                hardwareVersion=True,
                controllerType=True,
                diskExtents=True,
                thin=True,
                encryption=True,
            )
            configs = Browser.VmConfigQuery.Details(configVersion=True)
            spec = Browser.SearchSpec(
                query=[
                    Browser.FolderQuery(),
                    Browser.VmDiskQuery(details=disks),
                    Browser.VmConfigQuery(details=configs),
                    Browser.VmLogQuery(),
                    Browser.VmNvramQuery(),
                    Browser.VmSnapshotQuery(),
                    Browser.IsoImageQuery(),
                    Browser.Query(),
                ],
                details=Browser.FileInfo.Details(fileType=True, fileSize=True, modification=True, fileOwner=True),
                sortFoldersFirst=True,
            )
            task = browser.SearchDatastoreSubFolders_Task(f"[{datastore.name}]", spec)
            WaitForTask(task)
            results = task.info.result
            files = [file for result in results for file in result.file]
            disks = [file for file in files if isinstance(file, Browser.VmDiskInfo)]
            expect(disks and all(disk.capacityKb and disk.diskExtents for disk in disks), disks)
            expect(all(issubclass(disk.controllerType, vim.vm.device.VirtualController) for disk in disks), disks)
            configs = [file for file in files if isinstance(file, Browser.VmConfigInfo)]
            expect(configs and all(config.configVersion == 8 for config in configs), configs)
            expect(all(file.modification and file.owner and file.fileSize is not None for file in files), files)
            print(f"{datastore.name}: {len(results)} folders, {len(files)} files, {len(disks)} disks")


def machine(content, name):
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    found = [vm for vm in view.view if vm.name == name]
    view.DestroyView()
    expect(len(found) == 1, found)
    return found[0]


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


COMMANDS = {"snapshot": snapshot, "power-off": power_off, "ticket": ticket, "chain": chain, "browse": browse}

if __name__ == "__main__":
    main()

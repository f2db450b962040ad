"""Reads properties of all machines with pyvmomi, as its users do it, and prints what that took."""

import os
import resource
import sys
from urllib.parse import urlparse

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

Collector = vmodl.query.PropertyCollector


def main():
    address = urlparse(sys.argv[1])
    # The server is a child of this check, on the loopback address.
    service = SmartConnect(
        host=address.hostname,
        port=address.port,
        user=sys.argv[2],
        pwd=os.environ["PEER_PASSWORD"],
        disableSslCertValidation=True,
    )
    content = service.RetrieveContent()
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    through = Collector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    spec = Collector.FilterSpec(
        objectSet=[Collector.ObjectSpec(obj=view, skip=True, selectSet=[through])],
        propSet=[Collector.PropertySpec(type=vim.VirtualMachine, pathSet=os.environ["INVENTORY_PATHS"].split(","))],
    )
    page = content.propertyCollector.RetrievePropertiesEx([spec], Collector.RetrieveOptions(maxObjects=100))
    machines = devices = 0
    while page:
        for found in page.objects:
            machines += 1
            devices += sum(len(prop.val) for prop in found.propSet if prop.name == "config.hardware.device")
        page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token) if page.token else None
    if machines == 0 or devices < machines:
        sys.exit(f"{machines} machines, {devices} devices")
    Disconnect(service)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime
    print(
        f'"pyvmomi_retrieve_5000_cpu_s": {seconds:.2f}, '
        f'"pyvmomi_retrieve_5000_peak_mb": {usage.ru_maxrss * 1024 / 1e6:.1f}'
    )


if __name__ == "__main__":
    main()

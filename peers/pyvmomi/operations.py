#!/usr/bin/env python3
"""What people do with a vSphere through pyvmomi, each thing a check of its own, against vsphere-sim.

Faults are expected where the API's reference, or the sheets of facts, say that there is one. What the simulator is known to
lack stands in operations-missing.txt, and what a host by itself lacks in operations-host.txt; everything else has to pass. At
the end everything is read, as in everything.py.

usage: operations.py PATH-OF-VSPHERE-SIM [NAME-OF-A-CHECK...]        (pip install -r requirements.txt; qemu-img)
"""

import pathlib
import sys
import tempfile

from pyVim.connect import Disconnect

# The first three are imported for the checks that they register.
import machines
import managers
import storage
import peer
from everything import Walk, note_what_comes
from simulator import Simulator, run_checks

MISSING = pathlib.Path(__file__).with_name("operations-missing.txt")
OF_A_HOST = pathlib.Path(__file__).with_name("operations-host.txt")
# Some for each check: none meets what another has left behind.
PRINCIPALS = pathlib.Path(__file__).with_name("principals.json")
OPTIONS = [*"--vms 100 --hosts 2 --datastores 2".split(), "--principals", str(PRINCIPALS)]


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__.splitlines()[-1])
    with tempfile.TemporaryDirectory() as data, Simulator(sys.argv[1], data, *OPTIONS) as simulator:
        note_what_comes()
        them = peer.Peer(simulator)
        missing = [MISSING, OF_A_HOST] if simulator.is_host else [MISSING]
        good = run_checks(peer.CHECKS, sys.argv[2:], missing, them)
        if not sys.argv[2:]:
            walk = Walk(them.service, history=True)
            walk.visit_all()
            good = walk.report() and good
        Disconnect(them.service)
    sys.exit(not good)


if __name__ == "__main__":
    main()

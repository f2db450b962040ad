"""Reads a RetrievePropertiesEx response with pyvmomi's decoder, as its stub does, and prints the processor seconds."""

import sys
import time

from pyVmomi import vmodl
from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapter
from pyVmomi.VmomiSupport import newestVersions


def main():
    # Never connected: references that the decoder finds are bound to it.
    stub = SoapStubAdapter("localhost", version=newestVersions.GetName("vim"))
    with open(sys.argv[1], "rb") as document:
        began = time.process_time()
        result = SoapResponseDeserializer(stub).Deserialize(document, vmodl.query.PropertyCollector.RetrieveResult)
        seconds = time.process_time() - began
    if not result.objects:
        sys.exit("the document holds no objects")
    print(f'"pyvmomi_decode_cpu_s": {seconds:.3f}')


if __name__ == "__main__":
    main()

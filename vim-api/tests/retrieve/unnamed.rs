use vim_api::Retrieve;
use vim_api::mo::VirtualMachine;

#[derive(Retrieve)]
#[retrieve(VirtualMachine)]
pub struct Vm(String); //~ Retrieve needs a struct whose fields have names

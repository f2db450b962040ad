use vim_api::Retrieve;
use vim_api::mo::VirtualMachine;

#[derive(Retrieve)]
#[retrieve(VirtualMachine)]
pub enum Vm { //~ Retrieve can only be derived for a struct
    On,
}

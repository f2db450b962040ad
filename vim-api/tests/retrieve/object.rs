use vim_api::Retrieve;

#[derive(Retrieve)]
pub struct Vm { //~ say which managed objects it is read from
    pub name: String,
}

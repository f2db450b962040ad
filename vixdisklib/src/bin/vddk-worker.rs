//! The process that VixDiskLib runs in, for programs that keep it out of their own. It is started by them and does nothing by
//! itself; it goes beside the program, in the version that the program was built with.

fn main() {
    vixdisklib::worker::serve()
}

//! Faults as they go over the wire, and how failures of the store become faults.

mod fields;

use vim_api::dynamic::{IsA, Poly, type_info};
use vim_api::types as t;
use vim_api::{MoRef, mo};

pub(crate) use fields::with_fields;
pub(crate) use vim_api::Fault;

/// Shorthand for what a method of a managed object answers.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// A fault with the server's words.
pub(crate) fn fault(value: impl IsA<t::MethodFault>, message: impl Into<String>) -> Fault {
    Fault { fault: Poly::new(value), message: message.into() }
}

/// A request that cannot be understood.
pub(crate) fn invalid_request(message: impl Into<String>) -> Fault {
    fault(t::InvalidRequest::default(), message)
}

/// An argument, named by its path, that makes no sense.
pub(crate) fn invalid_argument(property: &str, message: impl Into<String>) -> Fault {
    let value = t::InvalidArgument { invalid_property: Some(property.to_owned()), ..Default::default() };
    fault(value, message)
}

/// A property path that leads nowhere.
pub(crate) fn invalid_property(name: &str) -> Fault {
    let value = t::InvalidProperty { name: name.to_owned(), ..Default::default() };
    fault(value, format!("The property \"{name}\" is unknown."))
}

/// An object that is not there, or not any more.
pub(crate) fn not_found(obj: &MoRef) -> Fault {
    let value = t::ManagedObjectNotFound { obj: obj.clone(), ..Default::default() };
    fault(value, format!("The object '{obj}' has already been deleted or has not been completely created"))
}

/// A call without a live session.
pub(crate) fn not_authenticated(obj: &MoRef) -> Fault {
    let base = t::NoPermission {
        object: Some(obj.clone()),
        privilege_id: Some("System.View".to_owned()),
        ..Default::default()
    };
    fault(t::NotAuthenticated { base }, "The session is not authenticated.")
}

/// Another operation holds the machine.
pub(crate) fn task_in_progress(task: &str) -> Fault {
    let value = t::TaskInProgress { task: MoRef::<mo::Task>::new(task), ..Default::default() };
    fault(value, "Another task is already in progress.")
}

/// A fault of a type that is known by name only, filled with what `object` suggests so that no required reference
/// stays empty. `None` if the name is no fault's.
pub(crate) fn by_name(type_name: &str, message: &str, object: &MoRef) -> Option<Fault> {
    let fault = Poly::<t::MethodFault>::try_from_object(type_info(type_name)?.instantiate()).ok()?;
    let mut fault = Fault { fault, message: message.to_owned() };
    if let Some(denied) = fault.fault.downcast_mut::<t::NoPermission>() {
        denied.object = Some(object.clone());
        denied.privilege_id = Some("System.View".to_owned());
    } else if let Some(gone) = fault.fault.downcast_mut::<t::ManagedObjectNotFound>() {
        gone.obj = object.clone();
    } else if let Some(busy) = fault.fault.downcast_mut::<t::TaskInProgress>() {
        busy.task = MoRef::new("task-0");
    } else if let Some(broken) = fault.fault.downcast_mut::<t::FileFault>() {
        broken.file = "[] ".to_owned();
    }
    Some(fault)
}

/// The same fault inside of a result, such as `TaskInfo.error`.
pub(crate) fn localized(fault: &Fault) -> t::LocalizedMethodFault {
    t::LocalizedMethodFault {
        fault: fault.fault.clone(),
        localized_message: Some(fault.message.clone()),
        ..Default::default()
    }
}

/// What a failure of the disks looks like to a client; `file` is the disk as a datastore path.
pub(crate) fn from_store(error: &sim_store::Error, file: &str) -> Fault {
    use sim_store::ErrorKind as Kind;
    let message = describe(error);
    let base = t::FileFault { file: file.to_owned(), ..Default::default() };
    match error.kind() {
        Kind::Locked => fault(t::FileLocked { base }, message),
        Kind::NotFound => fault(t::FileNotFound { base }, message),
        Kind::AlreadyExists => fault(t::FileAlreadyExists { base }, message),
        Kind::NoSpace => no_disk_space(file, message),
        Kind::InvalidArgument => invalid_argument("disk", message),
        _ => fault(base, message),
    }
}

/// A change that was made, and would be lost with the process, since it could not be written.
pub(crate) fn not_kept(error: &crate::Error) -> Fault {
    let message = describe(error);
    fault(t::SystemError { reason: message.clone(), ..Default::default() }, message)
}

/// A datastore without room for a file, which is given by its datastore path.
pub(crate) fn no_disk_space(file: &str, message: impl Into<String>) -> Fault {
    let base = t::FileFault { file: file.to_owned(), ..Default::default() };
    let path = file.parse::<sim_store::DatastorePath>();
    let datastore = path.map(|path| path.datastore().to_owned()).unwrap_or_default();
    fault(t::NoDiskSpace { base, datastore }, message)
}

/// The error with its causes, as one sentence after the other.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        at = cause.source();
    }
    text
}

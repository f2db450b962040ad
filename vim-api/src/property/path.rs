use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The path of a property of `M` whose value is a `T`, or of something within that value.
///
/// Every managed object type has a constant for each property, and from one that holds a data object the path goes on
/// with a method for each of its fields, as far as the declared types reach:
///
/// ```
/// use vim_api::mo::VirtualMachine;
///
/// let devices = VirtualMachine::CONFIG.hardware().device();
/// assert_eq!(devices.as_str(), "config.hardware.device");
/// // An item of a list whose items have keys:
/// assert_eq!(devices.at(2000).backing().as_str(), "config.hardware.device[2000].backing");
/// ```
///
/// `P` says what the schema promises: [`Required`], or [`Optional`] when anything on the way may be unset. A list is never
/// called optional on its own account: one that is unset is as good as empty.
///
/// A path prints as the PropertyCollector takes it, and `as_str` goes wherever a path is wanted as text. A server that is
/// older than something on the path answers with the fault `InvalidProperty`.
pub struct Property<M, T, P = Required> {
    path: Cow<'static, str>,
    types: PhantomData<Types<M, T, P>>,
}

/// A path holds none of them: it may go to any thread.
type Types<M, T, P> = fn() -> (M, T, P);

/// In the type of a [`Property`]: the server has a value for every object, unless it is kept from us.
#[derive(Debug, Clone, Copy)]
pub enum Required {}

/// In the type of a [`Property`]: the server may have no value, as something on the way may be unset.
#[derive(Debug, Clone, Copy)]
pub enum Optional {}

/// What names a property of `M` to be taken as a `T`: a [`Property`], which settles the `T`, or text, which leaves it open.
pub trait PropertyPath<M, T>: AsRef<str> {}

impl<M, T, P> PropertyPath<M, T> for Property<M, T, P> {}
impl<M, T, P> PropertyPath<M, T> for &Property<M, T, P> {}
impl<M, T> PropertyPath<M, T> for &str {}
impl<M, T> PropertyPath<M, T> for &String {}

// The methods of every field of the API are added to these, so their names must be no field's.
impl<M, T, P> Property<M, T, P> {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { path: Cow::Borrowed(name), types: PhantomData }
    }

    /// The path as the PropertyCollector takes it.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// On into the field `name`. The types are the caller's word.
    pub(crate) fn then<U, Q>(&self, name: &str) -> Property<M, U, Q> {
        extended(&self.path, &[".", name])
    }
}

impl<M, T, P> Property<M, Vec<T>, P> {
    /// On to the item whose key is a number.
    pub(crate) fn numbered(&self, key: i32) -> Property<M, T, Optional> {
        extended(&self.path, &["[", &key.to_string(), "]"])
    }

    /// On to the item whose key is text.
    pub(crate) fn named(&self, key: &str) -> Property<M, T, Optional> {
        extended(&self.path, &["[\"", key, "\"]"])
    }
}

fn extended<M, T, P>(path: &str, parts: &[&str]) -> Property<M, T, P> {
    Property { path: Cow::Owned([path, &parts.concat()].concat()), types: PhantomData }
}

impl<M, T, P> AsRef<str> for Property<M, T, P> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl<M, T, P> Clone for Property<M, T, P> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), types: PhantomData }
    }
}

impl<M, T, P> fmt::Display for Property<M, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<M, T, P> fmt::Debug for Property<M, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

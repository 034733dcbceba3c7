//! Typed data that an application attaches: one value of each type.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::{Any, TypeId};
use core::fmt;

use crate::contain::catch;

/// A value of each type at most. Few are ever stored, so a list beats a map; an empty
/// one owns no memory. Values are shared, so that code of the application, such as its `Clone`,
/// never runs under the lock of a session.
#[derive(Default)]
pub struct Extensions {
    values: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
}

impl Extensions {
    /// Nothing stored.
    #[must_use]
    pub const fn new() -> Extensions {
        Extensions { values: Vec::new() }
    }

    /// True if nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Stores a value; returns the one of its type that it replaces.
    pub fn insert<T: Any + Send + Sync>(&mut self, value: T) -> Option<Arc<T>> {
        let replaced = self.remove();
        self.values.push((TypeId::of::<T>(), Arc::new(value)));
        replaced
    }

    /// Stores all the values of another one, which replace those of their types.
    pub(crate) fn extend(&mut self, mut more: Extensions) {
        self.values.retain(|(id, _)| !more.values.iter().any(|(new, _)| new == id));
        self.values.append(&mut more.values);
    }

    /// The value of this type.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        let (_, value) = self.values.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// The value of this type, shared.
    #[cfg(feature = "std")]
    pub(crate) fn share<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let (_, value) = self.values.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.clone().downcast().ok()
    }

    /// Takes the value of this type out.
    pub fn remove<T: Any + Send + Sync>(&mut self) -> Option<Arc<T>> {
        let at = self.values.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        let (_, value) = self.values.swap_remove(at);
        value.downcast().ok()
    }
}

/// A value whose `Drop` panics takes neither another one nor its session with it.
impl Drop for Extensions {
    fn drop(&mut self) {
        while let Some(value) = self.values.pop() {
            catch(|| drop(value));
        }
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extensions({})", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_value() {
        let mut data = Extensions::new();
        assert_eq!(data.insert(1u32), None);
        assert_eq!(data.insert("name"), None);
        assert_eq!(data.insert(2u32), Some(1.into()));
        assert_eq!((data.get::<u32>(), data.get::<&str>()), (Some(&2), Some(&"name")));
        assert_eq!(data.get::<u64>(), None);
        assert_eq!(data.remove::<u32>(), Some(2.into()));
        assert_eq!(data.get::<u32>(), None);
    }
}

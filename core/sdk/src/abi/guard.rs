//! Panics of a plugin, caught on the plugin's side.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{ErrorKind, PluginError};

thread_local! {
    static LAST_PANIC: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

struct PanicReport {
    message: String,
    backtrace: String,
}

/// Keeps panics for [`guarded`] to report. Every plugin has its own copy of std, so the host's hook never fires for a
/// plugin, and this one never for the host.
pub(super) fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let text = payload_text(info.payload());
            let place = info
                .location()
                .map(|place| format!(" at {}:{}", place.file(), place.line()))
                .unwrap_or_default();
            let report = PanicReport {
                message: format!("{text}{place}"),
                backtrace: Backtrace::force_capture().to_string(),
            };
            LAST_PANIC.with(|slot| {
                if let Ok(mut slot) = slot.try_borrow_mut() {
                    *slot = Some(report);
                }
            });
        }));
    });
}

/// Runs `work`; a panic becomes an error with its message, place and backtrace.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, PluginError>) -> Result<T, PluginError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let report =
            LAST_PANIC.with(|slot| slot.try_borrow_mut().ok().and_then(|mut slot| slot.take()));
        let (message, backtrace) = match report {
            Some(report) => (report.message, Some(report.backtrace)),
            None => (payload_text(payload.as_ref()), None),
        };
        // A payload may panic when it is dropped.
        std::mem::forget(payload);
        let mut error =
            PluginError::new(ErrorKind::Panic, format!("the plugin panicked: {message}"));
        error.backtrace = backtrace;
        Err(error)
    })
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "something".into())
}

/// An object of the plugin that is not used again once it panicked, and whose `Drop` may panic.
pub(super) struct Guarded<T: ?Sized> {
    inner: ManuallyDrop<Box<T>>,
    poisoned: AtomicBool,
}

impl<T: ?Sized> Guarded<T> {
    pub(super) fn new(inner: Box<T>) -> Self {
        Self {
            inner: ManuallyDrop::new(inner),
            poisoned: AtomicBool::new(false),
        }
    }

    pub(super) fn call<R>(
        &self,
        work: impl FnOnce(&T) -> Result<R, PluginError>,
    ) -> Result<R, PluginError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(PluginError::new(
                ErrorKind::Panic,
                "not asked again after it panicked",
            ));
        }
        let result = guarded(|| work(&self.inner));
        if matches!(&result, Err(error) if error.kind == ErrorKind::Panic) {
            self.poisoned.store(true, Ordering::Release);
        }
        result
    }
}

impl<T: ?Sized> Drop for Guarded<T> {
    fn drop(&mut self) {
        let inner = &mut self.inner;
        // Nobody is left to tell; what counts is that the host lives on.
        let _ = guarded(|| {
            // SAFETY: `inner` is not touched again: this is the only call, in the owner's own `Drop`.
            unsafe { ManuallyDrop::drop(inner) };
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fragile;

    impl Drop for Fragile {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    #[test]
    fn a_panic_is_an_error_and_poisons() {
        let object = Guarded::new(Box::new(3));
        assert_eq!(object.call(|n| Ok(n + 1)), Ok(4));
        let error = object.call::<()>(|n| panic!("no {n}")).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Panic, "the plugin panicked: no 3")
        );
        let error = object.call(|n| Ok(n + 1)).unwrap_err();
        assert_eq!(error.message, "not asked again after it panicked");
    }

    #[test]
    fn a_panic_in_drop_ends_there() {
        drop(Guarded::new(Box::new(Fragile)));
    }
}

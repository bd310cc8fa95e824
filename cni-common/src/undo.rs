//! What to take back when a later step fails.

use crate::error::Error;
use crate::log;

type Removal<'a> = Box<dyn FnOnce() -> Result<(), Error> + 'a>;

/// The removals of what was made so far.
///
/// Push one for each thing *created*, never for a thing found: before the request that makes it, if the removal can
/// tell whether it was made, because the kernel's answer may be what is lost. Dropped without [`Undo::commit`], it runs them
/// in reverse order; their own failures are logged, so that the runtime sees the first error.
#[derive(Default)]
pub struct Undo<'a> {
    steps: Vec<(String, Removal<'a>)>,
}

impl<'a> Undo<'a> {
    /// Nothing to take back yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the removal of what was, or is about to be, created; `doing` names it, such as `delete bridge cni0`.
    pub fn push(
        &mut self,
        doing: impl Into<String>,
        removal: impl FnOnce() -> Result<(), Error> + 'a,
    ) {
        self.steps.push((doing.into(), Box::new(removal)));
    }

    /// Everything succeeded: nothing is taken back.
    pub fn commit(mut self) {
        self.steps.clear();
    }

    /// Takes everything back, in reverse order, and says whether all of it worked.
    pub fn roll_back(&mut self) -> bool {
        let mut complete = true;
        while let Some((doing, removal)) = self.steps.pop() {
            match removal() {
                Ok(()) => log::debug(format_args!("undone: {doing}")),
                Err(error) => {
                    complete = false;
                    log::error(format_args!("undo: {doing}: {error}"));
                }
            }
        }
        complete
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.roll_back();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::code::Code;

    #[test]
    fn dropped_it_runs_in_reverse_and_past_failures() {
        let order = RefCell::new(Vec::new());
        {
            let mut undo = Undo::new();
            undo.push("one", || {
                order.borrow_mut().push(1);
                Ok(())
            });
            undo.push("two", || Err(Error::new(Code::Kernel, "busy")));
            undo.push("three", || {
                order.borrow_mut().push(3);
                Ok(())
            });
        }
        assert_eq!(*order.borrow(), [3, 1]);
    }

    #[test]
    fn committed_it_runs_nothing() {
        let mut ran = false;
        let mut undo = Undo::new();
        undo.push("one", || {
            ran = true;
            Ok(())
        });
        undo.commit();
        assert!(!ran);
    }

    #[test]
    fn rolling_back_says_whether_all_of_it_worked() {
        let mut undo = Undo::new();
        undo.push("one", || Err(Error::new(Code::Kernel, "busy")));
        assert!(!undo.roll_back());
        assert!(undo.roll_back(), "nothing is left to take back");
    }
}

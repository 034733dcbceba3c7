//! Who waits for a stream: a task that reads, a task that writes, or one that does both.
//!
//! A transport remembers one waker for each of its directions and one for its timer, and
//! both tasks need all three: the reader also writes pongs, the writer also keeps deadlines.
//! What is registered is therefore a waker of both, while both wait; and whoever moves
//! something on wakes the other by hand.

use core::task::Waker;
use std::sync::Arc;
use std::task::Wake;

/// The half of a stream that a task polls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Half {
    Reader,
    Writer,
}

#[derive(Default, Debug)]
pub(super) struct Wakers {
    /// The task that polled each half last.
    tasks: [Option<Waker>; 2],
    /// Which of them came away with `Pending`.
    waits: [bool; 2],
    /// Both tasks in one, until one of them changes.
    both: Option<Waker>,
}

struct Both([Waker; 2]);

impl Wake for Both {
    fn wake(self: Arc<Both>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Both>) {
        for task in &self.0 {
            task.wake_by_ref();
        }
    }
}

impl Wakers {
    /// A task polls a half: what it is to poll the transport with.
    ///
    /// Each poll registers anew all that its own half waits for, so a waker of one is enough
    /// while the other half does not wait.
    pub(super) fn enter(&mut self, half: Half, task: &Waker) -> Waker {
        let own = half as usize;
        if !self.tasks[own].as_ref().is_some_and(|known| known.will_wake(task)) {
            self.tasks[own] = Some(task.clone());
            self.both = None;
        }
        self.waits[own] = true;
        match &self.tasks[1 - own] {
            Some(other) if self.waits[1 - own] && !other.will_wake(task) => {
                let both = || Waker::from(Arc::new(Both([task.clone(), other.clone()])));
                self.both.get_or_insert_with(both).clone()
            }
            _ => task.clone(),
        }
    }

    /// The poll of a half was ready.
    pub(super) fn leave(&mut self, half: Half) {
        self.waits[half as usize] = false;
    }

    pub(super) fn is_waiting(&self, half: Half) -> bool {
        self.waits[half as usize]
    }

    /// Something moved that the other half may wait for.
    pub(super) fn wake_other(&self, half: Half) {
        let other = 1 - half as usize;
        if let (true, Some(task)) = (self.waits[other], &self.tasks[other])
            && !self.tasks[half as usize].as_ref().is_some_and(|own| own.will_wake(task))
        {
            task.wake_by_ref();
        }
    }

    /// Something changed that neither half polled for.
    pub(super) fn wake_all(&self) {
        self.wake_other(Half::Reader);
        self.wake_other(Half::Writer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Task>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn task() -> (Arc<Task>, Waker) {
        let task = Arc::<Task>::default();
        (task.clone(), Waker::from(task))
    }

    fn wakes(tasks: [&Arc<Task>; 2]) -> [usize; 2] {
        tasks.map(|task| task.0.swap(0, Ordering::Relaxed))
    }

    #[test]
    fn one_task_is_registered_as_it_is() {
        let (_, task) = task();
        let mut wakers = Wakers::default();
        assert!(wakers.enter(Half::Reader, &task).will_wake(&task));
        assert!(wakers.enter(Half::Writer, &task).will_wake(&task));
    }

    #[test]
    fn what_is_registered_while_both_wait_wakes_both() {
        let ((reader, r), (writer, w)) = (task(), task());
        let mut wakers = Wakers::default();
        wakers.enter(Half::Reader, &r);
        let registered = wakers.enter(Half::Writer, &w);
        registered.wake_by_ref();
        assert_eq!(wakes([&reader, &writer]), [1, 1]);
        assert!(wakers.enter(Half::Reader, &r).will_wake(&registered), "made once");

        wakers.leave(Half::Writer);
        wakers.enter(Half::Reader, &r).wake();
        assert_eq!(wakes([&reader, &writer]), [1, 0], "the writer does not wait");
    }

    #[test]
    fn a_half_that_moves_to_another_task_is_woken_there() {
        let ((reader, r), (old, w), (new, w2)) = (task(), task(), task());
        let mut wakers = Wakers::default();
        wakers.enter(Half::Reader, &r);
        wakers.enter(Half::Writer, &w);
        wakers.enter(Half::Writer, &w2).wake();
        assert_eq!((wakes([&reader, &new]), wakes([&old, &old])), ([1, 1], [0, 0]));
    }

    #[test]
    fn only_the_other_half_is_woken_by_hand_and_only_if_it_waits() {
        let ((reader, r), (writer, w)) = (task(), task());
        let mut wakers = Wakers::default();
        wakers.enter(Half::Reader, &r);
        wakers.wake_other(Half::Reader);
        assert_eq!(wakes([&reader, &writer]), [0, 0]);
        wakers.enter(Half::Writer, &w);
        wakers.wake_other(Half::Reader);
        assert_eq!(wakes([&reader, &writer]), [0, 1]);
        wakers.leave(Half::Reader);
        wakers.wake_other(Half::Writer);
        assert_eq!(wakes([&reader, &writer]), [0, 0]);
    }
}

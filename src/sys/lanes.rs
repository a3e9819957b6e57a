//! Threads that serve calls. All that serves a call runs on one of them, so that its tasks wake no
//! other thread when they tell each other something, and find what they left in the caches.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::clock;
use super::tasks::{self, Task};

/// One thread for calls, or whatever runs the tasks of those who have none. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lane(Handle);

/// All lanes of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Lanes(Arc<[Open]>);

/// The threads themselves. They end when this is dropped, and what runs on them ends with them.
#[derive(Debug)]
pub struct LaneThreads {
    lanes: Lanes,
    running: Vec<Running>,
}

/// A lane that somebody runs in who may come to be in a call, and counts there until this is
/// dropped.
#[derive(Debug)]
pub struct Slot {
    lane: Lane,
    _taken: Arc<()>,
}

#[derive(Clone, Debug)]
struct Open {
    lane: Lane,
    /// One more of them than slots are taken.
    slots: Arc<()>,
    /// The share of the last second in which it was at work.
    busy: watch::Receiver<f64>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Lane {
    /// Where the caller runs. Must be called within tokio.
    #[must_use]
    pub fn here() -> Self {
        Self(Handle::current())
    }

    /// Starts a task there. What that task starts in turn runs there as well.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        tasks::spawn_on(&self.0, name, future)
    }

    /// Does something there that wants to be within tokio, such as to open a socket.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.0.enter();
        work()
    }

    fn tasks(&self) -> usize {
        self.0.metrics().num_alive_tasks()
    }
}

impl Lanes {
    /// The lane for something more, or where the caller runs if there is none. Must be called
    /// within tokio.
    ///
    /// It is the first with room for more, so that a gateway with little to do wakes few cores; if
    /// all are well filled, the emptiest.
    #[must_use]
    pub fn pick(&self) -> Lane {
        self.next().map_or_else(Lane::here, |open| open.lane.clone())
    }

    /// A slot in that lane, for somebody who may come to be in a call.
    #[must_use]
    pub fn take_slot(&self) -> Slot {
        let here = || Slot { lane: Lane::here(), _taken: Arc::default() };
        let there = |open: &Open| Slot { lane: open.lane.clone(), _taken: Arc::clone(&open.slots) };
        self.next().map_or_else(here, there)
    }

    fn next(&self) -> Option<&Open> {
        let roomy = self.0.iter().find(|open| open.is_roomy());
        roomy.or_else(|| self.0.iter().min_by_key(|open| (open.taken(), open.lane.tasks())))
    }

    /// The lane for what all calls have to do with: the one that is filled first.
    #[must_use]
    pub fn first(&self) -> Lane {
        self.0.first().map_or_else(Lane::here, |open| open.lane.clone())
    }

    /// The share of the last second in which each lane had something to do.
    #[must_use]
    pub fn busy(&self) -> Vec<f64> {
        self.0.iter().map(|open| *open.busy.borrow()).collect()
    }

    /// How many tasks are alive, here and in all lanes. Must be called within tokio.
    #[must_use]
    pub fn tasks(&self) -> usize {
        tasks::count() + self.0.iter().map(|open| open.lane.tasks()).sum::<usize>()
    }
}

impl Slot {
    /// Where it is.
    #[must_use]
    pub const fn lane(&self) -> &Lane {
        &self.lane
    }
}

impl Open {
    /// Neither many who may be in calls nor much to do.
    fn is_roomy(&self) -> bool {
        self.taken() < ROOMY_SLOTS && *self.busy.borrow() < ROOMY_BUSY
    }

    fn taken(&self) -> usize {
        Arc::strong_count(&self.slots) - 1
    }
}

impl LaneThreads {
    /// Starts as many threads as the process may use cores.
    pub fn for_all_cores() -> io::Result<Self> {
        Self::start(std::thread::available_parallelism()?.get())
    }

    fn start(count: usize) -> io::Result<Self> {
        let started = (0..count).map(Running::start).collect::<io::Result<Vec<_>>>()?;
        let (lanes, running): (Vec<_>, _) = started.into_iter().unzip();
        Ok(Self { lanes: Lanes(lanes.into()), running })
    }

    /// The way to them.
    #[must_use]
    pub fn lanes(&self) -> Lanes {
        self.lanes.clone()
    }
}

impl Drop for LaneThreads {
    fn drop(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) =
            self.running.drain(..).map(|Running { stop, thread }| (stop, thread)).unzip();
        drop(stops);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a lane has ended in a panic");
            }
        }
    }
}

impl Running {
    fn start(number: usize) -> io::Result<(Open, Self)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let lane = Lane(runtime.handle().clone());
        let (stop, stopped) = oneshot::channel();
        let (busy_to, busy) = watch::channel(0.0);
        let thread = std::thread::Builder::new().name(format!("lane-{number}"));
        let thread = thread.spawn(move || {
            runtime.block_on(look(stopped, busy_to));
            // Blocking work that is past its deadline must not hold up the end.
            runtime.shutdown_timeout(END);
        })?;
        Ok((Open { lane, slots: Arc::default(), busy }, Self { stop, thread }))
    }
}

/// Tells how busy this thread is, until it is stopped.
async fn look(mut stopped: oneshot::Receiver<()>, busy: watch::Sender<f64>) {
    let metrics = Handle::current().metrics();
    let (mut looked, mut before) = (clock::now(), Duration::ZERO);
    while tokio::time::timeout(LOOK, &mut stopped).await.is_err() {
        let (now, worked) = (clock::now(), metrics.worker_total_busy_duration(0));
        busy.send_replace(worked.saturating_sub(before).div_duration_f64(now - looked));
        (looked, before) = (now, worked);
    }
}

/// Slots from which on a lane is well filled. They count from the beginning: agents are made before
/// their calls, and cannot change their lane when many of them join at once.
const ROOMY_SLOTS: usize = 50;

/// The busy share from which on a lane is well filled, however few are in it: above it, frames
/// wait for each other.
const ROOMY_BUSY: f64 = 0.4;

/// How often it is looked how busy a lane is.
const LOOK: Duration = Duration::from_secs(1);

/// How long blocking work may go on after its lane's end.
const END: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::future::pending;
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn what_a_task_starts_runs_where_it_does() {
        let threads = LaneThreads::start(2).expect("threads");
        let lane = threads.lanes().first();
        let names = lane.spawn("parent", async {
            let child = tasks::spawn("child", async { name() });
            let grandchild = Lane::here().spawn("grandchild", async { name() });
            [name(), child.await.expect("done"), grandchild.await.expect("done")]
        });
        assert_eq!(names.await.expect("done"), ["lane-0"; 3]);
    }

    #[tokio::test]
    async fn without_lanes_all_runs_here() {
        let lanes = Lanes::default();
        assert_eq!(lanes.pick().spawn("task", async { name() }).await.expect("done"), name());
        assert_eq!(lanes.tasks(), tasks::count());
    }

    #[tokio::test]
    async fn one_lane_is_filled_and_then_the_next_and_then_all_alike() {
        let threads = LaneThreads::start(2).expect("threads");
        let lanes = threads.lanes();
        let taken = || lanes.0.iter().map(Open::taken).collect::<Vec<_>>();
        let mut slots: Vec<_> = (0..=ROOMY_SLOTS).map(|_| lanes.take_slot()).collect();
        assert_eq!(taken(), [ROOMY_SLOTS, 1]);
        slots.extend((0..=ROOMY_SLOTS).map(|_| lanes.take_slot()));
        assert_eq!(taken(), [ROOMY_SLOTS + 1; 2]);
        // Who needs no slot goes where the fewest tasks are.
        let task = lanes.first().spawn("task", pending::<()>());
        let room = lanes.pick().spawn("room", async { name() });
        assert_eq!(room.await.expect("done"), "lane-1");
        drop((slots, task));
        assert_eq!(taken(), [0; 2]);
    }

    #[tokio::test]
    async fn tasks_are_counted_in_all_lanes() {
        let threads = LaneThreads::start(2).expect("threads");
        let lanes = threads.lanes();
        let before = lanes.tasks();
        let each = lanes.0.iter().map(|open| open.lane.spawn("task", pending::<()>()));
        let both: Vec<_> = each.collect();
        assert_eq!(lanes.tasks(), before + both.len());
    }

    #[tokio::test]
    async fn a_busy_lane_takes_nothing_more_while_another_has_room() {
        let busy = |share| {
            let (lane, busy) = (Lane::here(), watch::channel(share).1);
            Open { lane, slots: Arc::default(), busy }
        };
        assert!(busy(ROOMY_BUSY - 0.01).is_roomy());
        assert!(!busy(ROOMY_BUSY).is_roomy());
    }

    #[tokio::test]
    async fn how_busy_a_lane_is_becomes_known() {
        let threads = LaneThreads::start(1).expect("threads");
        let mut busy = threads.lanes.0[0].busy.clone();
        let lane = threads.lanes().first();
        // It yields, so that the lane can look at itself meanwhile.
        let working = lane.spawn("work", async {
            loop {
                thread::sleep(Duration::from_millis(1));
                tokio::task::yield_now().await;
            }
        });
        let told = tokio::time::timeout(Duration::from_secs(20), busy.wait_for(|busy| *busy > 0.5));
        told.await.expect("in time").expect("it looks");
        drop(working);
    }

    #[tokio::test]
    async fn a_panic_ends_one_task() {
        let threads = LaneThreads::start(1).expect("threads");
        let lane = threads.lanes().first();
        let failed = lane.spawn("failing", async { panic!("by design") });
        assert!(failed.await.expect_err("it panicked").is_panic());
        assert_eq!(lane.spawn("next", async { name() }).await.expect("done"), "lane-0");
    }

    #[tokio::test]
    async fn tasks_end_with_their_lane() {
        let threads = LaneThreads::start(1).expect("threads");
        let (kept, gone) = oneshot::channel::<()>();
        let (begun_to, begun) = oneshot::channel();
        let task = threads.lanes().first().spawn("waiting", async move {
            begun_to.send(()).expect("it is awaited");
            pending::<()>().await;
            drop(kept);
        });
        begun.await.expect("it runs");
        let lane = threads.lanes().first();
        drop(threads);
        assert!(gone.await.is_err(), "what it held is let go");
        assert!(task.await.expect_err("it has not come to its end").is_cancelled());
        let late = lane.spawn("late", async {});
        assert!(late.await.expect_err("there is no thread for it").is_cancelled());
    }

    #[tokio::test]
    async fn a_lane_can_wait_for_programs() {
        let threads = LaneThreads::start(1).expect("threads");
        let run = async { tokio::process::Command::new("true").status().await };
        let status = threads.lanes().first().spawn("program", run).await.expect("done");
        assert!(status.expect("it ran").success());
    }

    #[tokio::test]
    async fn there_is_a_lane_for_each_core() {
        let threads = LaneThreads::for_all_cores().expect("threads");
        let names = threads.lanes.0.iter().map(|open| open.lane.spawn("name", async { name() }));
        let names = futures_util::future::join_all(names.collect::<Vec<_>>()).await;
        let names: BTreeSet<_> = names.into_iter().map(|name| name.expect("done")).collect();
        assert_eq!(names.len(), thread::available_parallelism().expect("known").get());
    }

    fn name() -> String {
        thread::current().name().expect("a named thread").to_owned()
    }
}

//! The door to every place: which adapter takes a `roomUrl`, and who owns the stays elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::elsewhere::Elsewhere;
use super::{DailyConfig, FarEnd, RoomLink, RoomUrl, Rooms, daily, janus, link, wav, whip};
use crate::agent::{JoinRequest, RoomFailure};
use crate::sys::tasks::{self, Task};

/// Which places elsewhere agents may be brought to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacesConfig {
    /// Whether recordings (`wav:`) count as rooms.
    pub files: bool,
    /// How rooms of Daily are joined; without it they are not taken.
    pub daily: Option<DailyConfig>,
}

/// All places that an agent can be brought to: rooms of ours and rooms elsewhere. Cheap to clone;
/// the last clone's end is the end of every stay elsewhere.
#[derive(Clone, Debug)]
pub struct Places {
    rooms: Rooms,
    config: PlacesConfig,
    elsewhere: Elsewhere,
    visits: mpsc::Sender<Request>,
    _porter: Arc<Task>,
}

/// An agent's stay in a room elsewhere, from its wish to its goodbye.
#[derive(Debug)]
enum Visit {
    Whip(whip::Visit),
    Janus(janus::Visit),
    Daily(daily::Visit),
    Wav(wav::Visit),
}

impl Visit {
    fn far(&self) -> &FarEnd {
        match self {
            Self::Whip(whip::Visit { far, .. })
            | Self::Janus(janus::Visit { far, .. })
            | Self::Daily(daily::Visit { far, .. })
            | Self::Wav(wav::Visit { far, .. }) => far,
        }
    }

    async fn run(self) {
        match self {
            Self::Whip(visit) => visit.run().await,
            Self::Janus(visit) => visit.run().await,
            Self::Daily(visit) => visit.run().await,
            Self::Wav(visit) => visit.run().await,
        }
    }
}

impl Places {
    /// Our own rooms, and those elsewhere that the settings allow. Must be called within tokio.
    #[must_use]
    pub fn new(rooms: Rooms, config: PlacesConfig) -> Self {
        let (visits, requests) = mpsc::channel(VISITS_CAPACITY);
        let elsewhere = rooms.elsewhere();
        let porter = Arc::new(tasks::spawn("visits", porter(requests)));
        Self { rooms, config, elsewhere, visits, _porter: porter }
    }

    /// Brings an agent into a room. Returns at once; the link's first event tells the outcome.
    #[must_use]
    pub fn join(&self, request: &JoinRequest) -> RoomLink {
        let (link, far) = link(request.participant_name.clone().unwrap_or_default());
        let token = request.token.clone();
        let tools = self.elsewhere.clone();
        let visit = match RoomUrl::parse(&request.room_url) {
            Ok(RoomUrl::Hosted(name)) => {
                self.rooms.join(name, token, far);
                return link;
            }
            Ok(RoomUrl::Whip(url)) => Visit::Whip(whip::Visit { url, token, far, tools }),
            Ok(RoomUrl::Janus(address)) => {
                Visit::Janus(janus::Visit { address, token, far, tools })
            }
            Ok(RoomUrl::Daily(url)) if let Some(config) = self.config.daily.clone() => {
                Visit::Daily(daily::Visit { url, token, far, tools, config })
            }
            Ok(RoomUrl::Recorded(recording)) if self.config.files => {
                Visit::Wav(wav::Visit { recording, far, tools })
            }
            Ok(RoomUrl::Daily(_) | RoomUrl::Recorded(_)) => {
                far.fail(RoomFailure::Unsupported(request.room_url.clone()));
                return link;
            }
            Err(failure) => {
                far.fail(failure);
                return link;
            }
        };
        self.begin(visit);
        link
    }

    fn begin(&self, visit: Visit) {
        if let Err(refused) = self.visits.try_send(Request::Begin(Box::new(visit)))
            && let Request::Begin(visit) = refused.into_inner()
        {
            visit.far().fail(RoomFailure::Unreachable("the gateway is busy or going down".into()));
        }
    }

    /// Waits for goodbyes that are being said elsewhere. Stays that do not end are cut off.
    pub async fn part(&self) {
        let (reply, done) = oneshot::channel();
        if self.visits.send(Request::Await { reply }).await.is_ok() {
            // A porter that has ended has nobody left to wait for.
            let _ = done.await;
        }
    }
}

#[derive(Debug)]
enum Request {
    Begin(Box<Visit>),
    /// Answered when all visits are over, or soon.
    Await {
        reply: oneshot::Sender<()>,
    },
}

/// Owns every stay elsewhere, so that it can say goodbye when its agent has dropped it.
async fn porter(mut requests: mpsc::Receiver<Request>) {
    let mut stays: Vec<Task> = Vec::new();
    while let Some(request) = requests.recv().await {
        stays.retain(|stay| !stay.is_finished());
        match request {
            Request::Begin(visit) => {
                let lane = visit.far().lane.clone();
                stays.push(lane.spawn("visit", visit.run()));
            }
            Request::Await { reply } => {
                let all = async {
                    for stay in &mut stays {
                        // A stay that panicked is over too.
                        let _ = stay.await;
                    }
                };
                if tokio::time::timeout(GOODBYES, all).await.is_err() {
                    tracing::warn!("a room elsewhere does not take our goodbye");
                }
                stays.clear();
                // Who asked may have gone.
                let _ = reply.send(());
            }
        }
    }
}

/// Wishes to join that may wait for the porter, who does nothing that takes long.
///
/// When full: the join fails as unreachable.
const VISITS_CAPACITY: usize = 256;

/// How long goodbyes elsewhere may take when the process goes down.
const GOODBYES: Duration = Duration::from_secs(3);

//! One suite of what a store promises, run over each kind of database.

use super::{
    CreateUserError, InsertError, InsertRoomError, IssuedKey, KeyHolder, ListError, RoomRecord,
    Store,
};
use crate::agent::{AgentRecord, AgentSpec};
use crate::ids::{AgentId, UserId};
use crate::privacy::{Secret, SecretHash};

macro_rules! suite {
    ($($name:ident)+) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::in_memory().await).await;
            })+
        }

        mod file {
            $(#[tokio::test]
            async fn $name() {
                let folder = tempfile::tempdir().expect("a folder");
                super::$name(super::in_file(folder.path()).await).await;
            })+
        }

        /// All in one test, for a server takes its time to start.
        #[tokio::test]
        async fn postgres() {
            let server = $crate::store::server::Server::start();
            $({
                println!("{} over PostgreSQL", stringify!($name));
                let url = server.database(stringify!($name)).await;
                let store = Store::open(&url).await.expect("opens");
                $name(store.clone()).await;
                store.close().await;
            })+
        }
    };
}

pub(super) use suite;

suite! {
    an_email_belongs_to_one_user
    only_the_letters_of_ascii_have_case_in_an_email
    a_nul_in_a_text_becomes_a_sign_that_every_database_holds
    what_no_text_can_be_is_not_found
    a_key_opens_its_owners_door_until_it_is_revoked
    a_key_is_refused_from_its_expiry_on
    the_last_use_of_a_key_is_noted_once_a_minute
    no_key_is_made_for_nobody
    the_bootstrap_key_may_be_ensured_twice
    an_agent_comes_back_as_it_went
    a_user_has_one_live_agent_per_owner
    pages_follow_each_other_without_gap_or_repeat
    a_foreign_cursor_is_refused
    an_update_writes_all_that_may_change
    an_update_cannot_take_anothers_user
    a_deleted_agent_leaves_nothing
    an_expired_agent_is_remembered_for_a_day
    a_room_comes_back_as_it_went
    a_name_belongs_to_one_room_whoever_owns_it
    a_deleted_room_leaves_its_name_to_others
    rooms_are_listed_by_owner_in_pages
}

async fn an_email_belongs_to_one_user(store: Store) {
    let user = store.create_user("ann@example.com", Some("Ann"), 5).await.expect("made");
    assert_eq!(store.user(&user.id).await.expect("read"), Some(user));
    let second = store.create_user("ANN@example.com", None, 6).await;
    assert!(matches!(second, Err(CreateUserError::EmailTaken)), "{second:?}");
}

async fn only_the_letters_of_ascii_have_case_in_an_email(store: Store) {
    for email in ["é@example.com", "É@example.com"] {
        store.create_user(email, None, 5).await.expect("made");
    }
}

async fn a_nul_in_a_text_becomes_a_sign_that_every_database_holds(store: Store) {
    let owner = owner(&store).await;
    let user_id = || Some("u\u{0}1".to_owned());
    let first = AgentRecord { user_id: user_id(), ..agent(&owner, "ag_1", 1) };
    store.insert_agent(&first).await.expect("kept");
    let found = store.agent(&first.id).await.expect("read").expect("there");
    assert_eq!(found.user_id.as_deref(), Some("u\u{fffd}1"));
    let second = AgentRecord { user_id: user_id(), ..agent(&owner, "ag_2", 1) };
    let second = store.insert_agent(&second).await;
    assert!(matches!(second, Err(InsertError::Duplicate(id)) if id == first.id));
}

async fn what_no_text_can_be_is_not_found(store: Store) {
    let owner = owner(&store).await;
    assert_eq!(store.agent(&AgentId::new("ag\0")).await.expect("read"), None);
    assert_eq!(store.room_of(&owner, "a\0").await.expect("read"), None);
    assert_eq!(store.agents_of(&owner, 2, Some("1-\0")).await.expect("listed").rows, []);
}

async fn a_key_opens_its_owners_door_until_it_is_revoked(store: Store) {
    let owner = owner(&store).await;
    let issued = store.create_key(&owner, Some("laptop"), None, 1).await;
    let issued = issued.expect("made").expect("the user exists");
    let IssuedKey { key, text: secret } = issued;
    let text = secret.expose();
    assert!(text.starts_with("ak_") && text.len() == 35);
    assert_eq!(key.preview, format!("...{}", &text[31..]));
    let holder = KeyHolder { owner: owner.clone(), key: key.id.clone(), expires_at_ms: None };
    assert_eq!(store.holder_of_key(&secret, 2).await.expect("read"), Some(holder));
    assert_eq!(store.holder_of_key(&Secret::new("ak_wrong"), 2).await.expect("read"), None);

    assert!(!store.revoke_key(&UserId::new("other"), &key.id).await.expect("tried"));
    assert!(store.revoke_key(&owner, &key.id).await.expect("revoked"));
    assert_eq!(store.holder_of_key(&secret, 3).await.expect("read"), None);
}

async fn a_key_is_refused_from_its_expiry_on(store: Store) {
    let owner = owner(&store).await;
    let issued = store.create_key(&owner, None, Some(100), 1).await;
    let IssuedKey { key, text } = issued.expect("made").expect("the user exists");
    let holder = KeyHolder { owner, key: key.id, expires_at_ms: Some(100) };
    assert_eq!(store.holder_of_key(&text, 99).await.expect("read"), Some(holder));
    assert_eq!(store.holder_of_key(&text, 100).await.expect("read"), None);
}

async fn the_last_use_of_a_key_is_noted_once_a_minute(store: Store) {
    let owner = owner(&store).await;
    let issued = store.create_key(&owner, None, None, 0).await;
    let text = issued.expect("made").expect("the user exists").text;
    let mut seen = Vec::new();
    for now_ms in [1_000, 60_999, 61_000] {
        store.holder_of_key(&text, now_ms).await.expect("read");
        let keys = store.keys_of(&owner).await.expect("listed");
        seen.extend(keys.into_iter().map(|key| key.last_used_at_ms));
    }
    assert_eq!(seen, [Some(1_000), Some(1_000), Some(61_000)]);
}

async fn no_key_is_made_for_nobody(store: Store) {
    let issued = store.create_key(&UserId::new("usr_nobody"), None, None, 1).await;
    assert!(issued.expect("read").is_none());
}

async fn the_bootstrap_key_may_be_ensured_twice(store: Store) {
    let key = Secret::new("ak_bootstrap");
    store.ensure_bootstrap(&key, 1).await.expect("made");
    store.ensure_bootstrap(&key, 2).await.expect("found");
    let owner = store.holder_of_key(&key, 3).await.expect("read").expect("valid").owner;
    let user = store.user(&owner).await.expect("read").expect("a user");
    assert_eq!(user.name.as_deref(), Some("bootstrap"));
    assert_eq!(store.keys_of(&owner).await.expect("listed").len(), 1);
}

async fn an_agent_comes_back_as_it_went(store: Store) {
    let owner = owner(&store).await;
    let agent = AgentRecord {
        metadata_json: r#"{"b":1, "a":2}"#.into(),
        user_id: Some("u1".into()),
        expires_at_ms: Some(77),
        ..agent(&owner, "ag_1", 7)
    };
    store.insert_agent(&agent).await.expect("kept");
    assert_eq!(store.agent(&agent.id).await.expect("read"), Some(agent.clone()));
    assert_eq!(store.all_agents().await.expect("read"), [agent]);
}

async fn a_user_has_one_live_agent_per_owner(store: Store) {
    let owner_1 = owner(&store).await;
    let owner_2 = store.create_user("bob@example.com", None, 1).await.expect("made").id;
    let serving = |owner: &UserId, id: &str| AgentRecord {
        user_id: Some("u1".into()),
        ..agent(owner, id, 1)
    };
    store.insert_agent(&serving(&owner_1, "ag_1")).await.expect("the first");
    let second = store.insert_agent(&serving(&owner_1, "ag_2")).await;
    let Err(InsertError::Duplicate(first)) = second else { panic!("{second:?}") };
    assert_eq!(first.as_str(), "ag_1");
    store.insert_agent(&serving(&owner_2, "ag_3")).await.expect("another owner's");
    store.insert_agent(&agent(&owner_1, "ag_4", 1)).await.expect("one for nobody");
    store.insert_agent(&agent(&owner_1, "ag_5", 1)).await.expect("another for nobody");

    store.delete_agent(&first).await.expect("deleted");
    store.insert_agent(&serving(&owner_1, "ag_2")).await.expect("the first has ended");
    let same_id = store.insert_agent(&agent(&owner_1, "ag_2", 1)).await;
    assert!(matches!(same_id, Err(InsertError::Store(_))), "{same_id:?}");
}

async fn pages_follow_each_other_without_gap_or_repeat(store: Store) {
    let owner = owner(&store).await;
    let other = store.create_user("bob@example.com", None, 1).await.expect("made").id;
    store.insert_agent(&agent(&other, "ag_x", 3)).await.expect("kept");
    for (id, created_at_ms) in [("ag_a", 1), ("ag_b", 2), ("ag_c", 2), ("ag_d", 3), ("ag_e", 9)] {
        store.insert_agent(&agent(&owner, id, created_at_ms)).await.expect("kept");
    }
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..3 {
        let page = store.agents_of(&owner, 2, cursor.as_deref()).await.expect("listed");
        seen.extend(page.rows.iter().map(|agent| agent.id.to_string()));
        cursor = page.next;
    }
    assert_eq!(seen, ["ag_e", "ag_d", "ag_c", "ag_b", "ag_a"]);
    assert_eq!(cursor, None);
    let all = store.agents_of(&owner, 5, None).await.expect("listed");
    assert_eq!((all.rows.len(), all.next), (5, None));
}

async fn a_foreign_cursor_is_refused(store: Store) {
    let owner = owner(&store).await;
    for cursor in ["", "x", "zz-ag_1", "-1-ag_1", "5-"] {
        let page = store.agents_of(&owner, 2, Some(cursor)).await;
        assert!(matches!(page, Err(ListError::BadCursor)), "{cursor:?}: {page:?}");
    }
}

async fn an_update_writes_all_that_may_change(store: Store) {
    let owner = owner(&store).await;
    let mut agent = agent(&owner, "ag_1", 1);
    assert!(!store.update_agent(&agent).await.expect("tried"));
    store.insert_agent(&agent).await.expect("kept");
    agent.expires_at_ms = Some(1_000);
    agent.spec.instructions = "Be brief.".into();
    agent.user_id = Some("u1".into());
    assert!(store.update_agent(&agent).await.expect("updated"));
    assert_eq!(store.agent(&agent.id).await.expect("read"), Some(agent));
}

async fn an_update_cannot_take_anothers_user(store: Store) {
    let owner = owner(&store).await;
    let first = AgentRecord { user_id: Some("u1".into()), ..agent(&owner, "ag_1", 1) };
    let mut second = agent(&owner, "ag_2", 2);
    store.insert_agent(&first).await.expect("kept");
    store.insert_agent(&second).await.expect("kept");
    second.user_id.clone_from(&first.user_id);
    let refused = store.update_agent(&second).await;
    assert!(matches!(&refused, Err(InsertError::Duplicate(id)) if *id == first.id), "{refused:?}");
    store.update_agent(&first).await.expect("its own user is no other's");
    store.delete_agent(&first.id).await.expect("deleted");
    assert!(store.update_agent(&second).await.expect("the user is free"));
}

async fn a_deleted_agent_leaves_nothing(store: Store) {
    let owner = owner(&store).await;
    let agent = agent(&owner, "ag_1", 1);
    store.insert_agent(&agent).await.expect("kept");
    assert!(store.delete_agent(&agent.id).await.expect("deleted"));
    assert!(!store.delete_agent(&agent.id).await.expect("tried"));
    assert_eq!(store.agent(&agent.id).await.expect("read"), None);
    assert_eq!(store.tombstone(&agent.id, 2).await.expect("read"), None);
}

async fn an_expired_agent_is_remembered_for_a_day(store: Store) {
    const DAY_MS: u64 = 86_400_000;
    let owner = owner(&store).await;
    let agent = agent(&owner, "ag_1", 1);
    store.insert_agent(&agent).await.expect("kept");
    assert!(store.expire_agent(&agent.id, 10).await.expect("expired"));
    assert!(!store.expire_agent(&agent.id, 11).await.expect("tried"));
    assert_eq!(store.agent(&agent.id).await.expect("read"), None);

    let tombstone = store.tombstone(&agent.id, 9 + DAY_MS).await.expect("read").expect("fresh");
    assert_eq!((tombstone.owner, tombstone.expired_at_ms), (owner, 10));
    assert_eq!(store.tombstone(&agent.id, 10 + DAY_MS).await.expect("read"), None);
    assert_eq!(store.sweep_tombstones(9 + DAY_MS).await.expect("swept"), 0);
    assert_eq!(store.sweep_tombstones(10 + DAY_MS).await.expect("swept"), 1);
}

async fn a_room_comes_back_as_it_went(store: Store) {
    let owner = owner(&store).await;
    let hash = SecretHash::of(&Secret::new("rt_1"));
    let closed = RoomRecord { token: Some(hash), expires_at_ms: Some(77), ..room(&owner, "a", 1) };
    let open = room(&owner, "b", 2);
    for room in [&closed, &open] {
        store.insert_room(room).await.expect("kept");
        let found = store.room_of(&owner, &room.name).await.expect("read");
        assert_eq!(found.as_ref(), Some(room));
    }
    assert_eq!(store.room_of(&UserId::new("other"), "a").await.expect("read"), None);
    assert_eq!(store.all_rooms().await.expect("read"), [closed, open]);
}

async fn a_name_belongs_to_one_room_whoever_owns_it(store: Store) {
    let owner_1 = owner(&store).await;
    let owner_2 = store.create_user("bob@example.com", None, 1).await.expect("made").id;
    store.insert_room(&room(&owner_1, "a", 1)).await.expect("kept");
    for owner in [&owner_1, &owner_2] {
        let second = store.insert_room(&room(owner, "a", 2)).await;
        assert!(matches!(second, Err(InsertRoomError::Taken)), "{second:?}");
    }
    assert_eq!(store.all_rooms().await.expect("read"), [room(&owner_1, "a", 1)]);
}

async fn a_deleted_room_leaves_its_name_to_others(store: Store) {
    let owner = owner(&store).await;
    store.insert_room(&room(&owner, "a", 1)).await.expect("kept");
    assert_eq!(store.count_rooms(&owner).await.expect("counted"), 1);
    assert!(store.delete_room("a").await.expect("deleted"));
    assert!(!store.delete_room("a").await.expect("tried"));
    assert_eq!(store.count_rooms(&owner).await.expect("counted"), 0);
    store.insert_room(&room(&owner, "a", 2)).await.expect("kept");
}

async fn rooms_are_listed_by_owner_in_pages(store: Store) {
    let owner = owner(&store).await;
    let other = store.create_user("bob@example.com", None, 1).await.expect("made").id;
    store.insert_room(&room(&other, "x", 3)).await.expect("kept");
    for (name, created_at_ms) in [("a-1", 1), ("b", 2), ("c", 2)] {
        store.insert_room(&room(&owner, name, created_at_ms)).await.expect("kept");
    }
    let names = |rows: Vec<RoomRecord>| rows.into_iter().map(|room| room.name).collect::<Vec<_>>();
    let first = store.rooms_of(&owner, 2, None).await.expect("listed");
    let second = store.rooms_of(&owner, 2, first.next.as_deref()).await.expect("listed");
    assert_eq!(
        (names(first.rows), names(second.rows)),
        (vec!["c".into(), "b".into()], vec!["a-1".into()])
    );
    assert_eq!(second.next, None);
    let bad = store.rooms_of(&owner, 2, Some("x")).await;
    assert!(matches!(bad, Err(ListError::BadCursor)), "{bad:?}");
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = in_file(folder.path()).await;
    let owner = owner(&store).await;
    store.insert_agent(&agent(&owner, "ag_1", 1)).await.expect("kept");
    drop(store);
    let again = in_file(folder.path()).await;
    assert_eq!(again.all_agents().await.expect("read").len(), 1);
}

#[tokio::test]
async fn no_key_lies_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = in_file(folder.path()).await;
    store.ensure_bootstrap(&Secret::new("ak_very_secret_indeed"), 1).await.expect("made");
    store.close().await;
    let bytes = std::fs::read(folder.path().join("callbridge.db")).expect("read");
    assert!(!bytes.windows(9).any(|window| window == b"ak_very_s"));
    assert!(bytes.windows(7).any(|window| window == b"...deed"));
}

pub(super) async fn in_memory() -> Store {
    Store::open("sqlite::memory:").await.expect("opens")
}

pub(super) async fn in_file(folder: &std::path::Path) -> Store {
    let path = folder.join("callbridge.db");
    Store::open(&format!("sqlite:{}", path.display())).await.expect("opens")
}

pub(super) async fn owner(store: &Store) -> UserId {
    store.create_user("owner@example.com", None, 0).await.expect("made").id
}

fn agent(owner: &UserId, id: &str, created_at_ms: u64) -> AgentRecord {
    AgentRecord {
        id: AgentId::new(id),
        owner: owner.clone(),
        metadata_json: "{}".into(),
        user_id: None,
        created_at_ms,
        expires_at_ms: None,
        spec: AgentSpec { name: "Ida".into(), ..AgentSpec::default() },
    }
}

fn room(owner: &UserId, name: &str, created_at_ms: u64) -> RoomRecord {
    RoomRecord {
        name: name.into(),
        owner: owner.clone(),
        token: None,
        created_at_ms,
        expires_at_ms: None,
    }
}

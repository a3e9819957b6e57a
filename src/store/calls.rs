//! The archive: what happened in calls, written as it happens and read when they have ended.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::call_rows::{entry_from_text, entry_to_text};
use super::pages::{Cursor, ListError, Page, with_one_more};
use super::rows::{BindText as _, ms_from_column, ms_to_column};
use super::{Store, StoreError};
use crate::agent::{Line, Participant, RecordEntry, ToolRecord, TurnRecord};
use crate::ids::{AgentId, CallId, UserId};

/// Something that happened in a call, with whose call it is.
#[derive(Clone, Debug, PartialEq)]
pub struct CallEntry {
    /// The call.
    pub call: CallId,
    /// Whose agent is in it.
    pub owner: UserId,
    /// The agent to which it happened.
    pub agent: AgentId,
    /// The agent's name.
    pub agent_name: String,
    /// The end user whom the agent serves.
    pub user_id: Option<String>,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Whether something that happened before it in this call was lost.
    pub follows_a_gap: bool,
    /// What has happened.
    pub entry: RecordEntry,
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSummary {
    /// Its id.
    pub id: CallId,
    /// The agent that was in it last.
    pub agent: AgentId,
    /// That agent's name.
    pub agent_name: String,
    /// The end user whom the agent served.
    pub user_id: Option<String>,
    /// Where it was.
    pub room_url: String,
    /// When the agent was in the room, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// When it was over, in milliseconds since the Unix epoch.
    pub ended_at_ms: u64,
    /// Why it was over.
    pub reason: String,
    /// Whether some of what happened was lost.
    pub is_incomplete: bool,
}

/// All that is kept of a call that has ended. Times are in milliseconds of the call.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedCall {
    /// The call itself.
    pub summary: CallSummary,
    /// Everybody else who was there at any time.
    pub participants: Vec<Participant>,
    /// What was said, in the order of its times.
    pub lines: Vec<Line>,
    /// How its turns went, in the order of their ends.
    pub turns: Vec<TurnRecord>,
    /// How its tool calls went, in the order of their ends.
    pub tools: Vec<ToolRecord>,
    /// From which agent to which it went.
    pub handoffs: Vec<HandOffRecord>,
}

/// One agent has taken a call over from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOffRecord {
    /// Who was in the call before.
    pub from: AgentId,
    /// Who went on.
    pub to: AgentId,
    /// Why.
    pub reason: String,
    /// When, in milliseconds of the call.
    pub at_ms: u64,
}

impl Store {
    /// Writes what has happened, in this order, all of it or nothing.
    ///
    /// A call is kept from its `Began` on; what happens in a call that is not kept is passed over,
    /// and so is the call of an owner who does not exist.
    pub async fn record(&self, entries: &[CallEntry]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for entry in entries {
            write(&mut transaction, entry).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Ends every live call at its last entry, for this reason; how many they were.
    ///
    /// For a start of the process: what was live belongs to a process that is gone.
    pub async fn close_live_calls(&self, reason: &str) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "UPDATE calls SET ended_at_ms = last_at_ms, reason = $1 WHERE ended_at_ms IS NULL",
        )
        .text(reason)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Lists an owner's calls that have ended, newest first; of one agent, if one is named.
    pub async fn calls_of(
        &self,
        owner: &UserId,
        agent: Option<&AgentId>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<CallSummary>, ListError> {
        let after = Cursor::read(cursor)?;
        let rows = sqlx::query(
            "SELECT * FROM calls
             WHERE owner = $1 AND ended_at_ms IS NOT NULL AND (started_at_ms, id) < ($2, $3)
             AND ($5 IS NULL OR id IN (SELECT call_id FROM call_agents WHERE agent_id = $5))
             ORDER BY started_at_ms DESC, id DESC LIMIT $4",
        )
        .text(owner.as_str())
        .bind(after.at_ms)
        .text(after.id)
        .bind(with_one_more(limit))
        .maybe_text(agent.map(AgentId::as_str))
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::from)?;
        let rows = rows.iter().map(summary_from_row).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(StoreError::from)?;
        Ok(Page::of(rows, limit, |call| (call.started_at_ms, call.id.as_str())))
    }

    /// Reads an owner's call that has ended.
    pub async fn call(
        &self,
        owner: &UserId,
        id: &CallId,
    ) -> Result<Option<ArchivedCall>, StoreError> {
        // One sight of both tables, so that no call is read whose entries are being erased.
        let mut transaction = self.pool.begin_with(self.kind.begin_reading()).await?;
        let row = sqlx::query(
            "SELECT * FROM calls WHERE id = $1 AND owner = $2 AND ended_at_ms IS NOT NULL",
        )
        .text(id.as_str())
        .text(owner.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let entries =
            sqlx::query("SELECT agent_id, body FROM call_entries WHERE call_id = $1 ORDER BY id")
                .text(id.as_str())
                .fetch_all(&mut *transaction)
                .await?;
        let mut call = ArchivedCall::new(summary_from_row(&row)?);
        for entry in &entries {
            let agent = AgentId::new(entry.try_get::<String, _>("agent_id")?);
            call.add(agent, entry_from_text(entry.try_get("body")?)?);
        }
        // Words are known some time after they were said, each at its own pace.
        call.lines.sort_by_key(|line| line.at_ms);
        Ok(Some(call))
    }

    /// Forgets an owner's call that has ended, and what of it waits for webhooks; whether there
    /// was one.
    pub async fn erase_call(&self, owner: &UserId, id: &CallId) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let done = sqlx::query(
            "DELETE FROM calls WHERE id = $1 AND owner = $2 AND ended_at_ms IS NOT NULL",
        )
        .text(id.as_str())
        .text(owner.as_str())
        .execute(&mut *transaction)
        .await?;
        let was_there = done.rows_affected() > 0;
        if was_there {
            sqlx::query("DELETE FROM webhook_deliveries WHERE call_id = $1")
                .text(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(was_there)
    }

    /// Forgets the calls that ended at this time, in milliseconds since the Unix epoch, or before;
    /// how many they were.
    pub async fn sweep_calls(&self, ended_until_ms: u64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM calls WHERE ended_at_ms <= $1")
            .bind(ms_to_column(ended_until_ms))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}

impl ArchivedCall {
    const fn new(summary: CallSummary) -> Self {
        Self {
            summary,
            participants: Vec::new(),
            lines: Vec::new(),
            turns: Vec::new(),
            tools: Vec::new(),
            handoffs: Vec::new(),
        }
    }

    fn add(&mut self, agent: AgentId, entry: RecordEntry) {
        match entry {
            RecordEntry::Began { participants, .. } => {
                for participant in participants {
                    self.add_participant(participant);
                }
            }
            RecordEntry::Participant(participant) => self.add_participant(participant),
            RecordEntry::Line(line) => self.lines.push(line),
            RecordEntry::Turn(turn) => self.turns.push(turn),
            RecordEntry::Tool(tool) => self.tools.push(tool),
            RecordEntry::HandedOff { to, reason, at_ms } => {
                self.handoffs.push(HandOffRecord { from: agent, to, reason, at_ms });
            }
            RecordEntry::Ended { .. } => {}
        }
    }

    /// Whoever goes out and comes back under the same id is one participant.
    fn add_participant(&mut self, participant: Participant) {
        if self.participants.iter().all(|known| known.id != participant.id) {
            self.participants.push(participant);
        }
    }
}

async fn write(connection: &mut AnyConnection, entry: &CallEntry) -> Result<(), StoreError> {
    if let RecordEntry::Began { room_url, .. } = &entry.entry {
        begin(connection, entry, room_url).await?;
        admit(connection, &entry.call, &entry.agent).await?;
    }
    let kept = append(connection, entry).await?;
    if !kept {
        return Ok(());
    }
    match &entry.entry {
        RecordEntry::HandedOff { to, .. } => {
            pass_on(connection, &entry.call, to).await?;
            admit(connection, &entry.call, to).await
        }
        RecordEntry::Ended { reason, .. } => end(connection, entry, reason).await,
        RecordEntry::Began { .. }
        | RecordEntry::Participant(_)
        | RecordEntry::Line(_)
        | RecordEntry::Turn(_)
        | RecordEntry::Tool(_) => Ok(()),
    }
}

/// Opens the record of a call.
async fn begin(
    connection: &mut AnyConnection,
    entry: &CallEntry,
    room_url: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO calls
         (id, owner, agent_id, agent_name, user_id, room_url, started_at_ms, last_at_ms)
         SELECT $1, id, $3, $4, $5, $6, $7, $7 FROM users WHERE id = $2
         ON CONFLICT (id) DO NOTHING",
    )
    .text(entry.call.as_str())
    .text(entry.owner.as_str())
    .text(entry.agent.as_str())
    .text(&entry.agent_name)
    .maybe_text(entry.user_id.as_deref())
    .text(room_url)
    .bind(ms_to_column(entry.at_ms))
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets the call be found by this agent.
async fn admit(
    connection: &mut AnyConnection,
    call: &CallId,
    agent: &AgentId,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO call_agents (agent_id, call_id) SELECT $2, id FROM calls WHERE id = $1
         ON CONFLICT DO NOTHING",
    )
    .text(call.as_str())
    .text(agent.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds the entry to its call; whether that call is kept.
///
/// The name of the agent in the call follows its entries, for a successor's is known only by them.
async fn append(connection: &mut AnyConnection, entry: &CallEntry) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE calls SET last_at_ms = CASE WHEN last_at_ms < $2 THEN $2 ELSE last_at_ms END,
         incomplete = CASE WHEN incomplete < $3 THEN $3 ELSE incomplete END,
         agent_name = CASE WHEN agent_id = $4 THEN $5 ELSE agent_name END WHERE id = $1",
    )
    .text(entry.call.as_str())
    .bind(ms_to_column(entry.at_ms))
    .bind(i64::from(entry.follows_a_gap))
    .text(entry.agent.as_str())
    .text(&entry.agent_name)
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT INTO call_entries (call_id, agent_id, body) VALUES ($1, $2, $3)")
        .text(entry.call.as_str())
        .text(entry.agent.as_str())
        .bind(entry_to_text(&entry.entry)?)
        .execute(connection)
        .await?;
    Ok(true)
}

async fn pass_on(
    connection: &mut AnyConnection,
    call: &CallId,
    to: &AgentId,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE calls SET agent_id = $2 WHERE id = $1")
        .text(call.as_str())
        .text(to.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Closes the record of a call; its first end counts.
async fn end(
    connection: &mut AnyConnection,
    entry: &CallEntry,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE calls SET reason = $3,
         ended_at_ms = CASE WHEN started_at_ms < $2 THEN $2 ELSE started_at_ms END
         WHERE id = $1 AND ended_at_ms IS NULL",
    )
    .text(entry.call.as_str())
    .bind(ms_to_column(entry.at_ms))
    .text(reason)
    .execute(connection)
    .await?;
    Ok(())
}

fn summary_from_row(row: &AnyRow) -> Result<CallSummary, sqlx::Error> {
    Ok(CallSummary {
        id: CallId::new(row.try_get::<String, _>("id")?),
        agent: AgentId::new(row.try_get::<String, _>("agent_id")?),
        agent_name: row.try_get("agent_name")?,
        user_id: row.try_get("user_id")?,
        room_url: row.try_get("room_url")?,
        started_at_ms: ms_from_column(row.try_get("started_at_ms")?),
        ended_at_ms: ms_from_column(row.try_get("ended_at_ms")?),
        reason: row.try_get("reason")?,
        is_incomplete: row.try_get::<i64, _>("incomplete")? != 0,
    })
}

//! openraft's types to and from our messages, on disk and on the wire.

use std::collections::BTreeMap;

use openraft::{BasicNode, CommittedLeaderId, EntryPayload, raft};
use prost::Message;
use proto::{
    raft::v1::{self, append_entries_response::Outcome, entry::Payload},
    shard::v1::Empty,
};

use super::types::{Entry, LogId, Membership, NodeId, StoredMembership, TypeConfig, Vote};
use crate::store::StoreError;

/// A message that no replica of this version sends or stores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a Raft message without {0}")]
pub struct Missing(pub &'static str);

impl From<Missing> for StoreError {
    fn from(missing: Missing) -> Self {
        Self::Corrupt(missing.to_string())
    }
}

impl From<Missing> for tonic::Status {
    fn from(missing: Missing) -> Self {
        Self::invalid_argument(missing.to_string())
    }
}

pub fn vote_to_proto(vote: &Vote) -> v1::Vote {
    let leader_id = v1::LeaderId { term: vote.leader_id.term, node_id: vote.leader_id.node_id };
    v1::Vote { leader_id: Some(leader_id), committed: vote.committed }
}

pub fn vote(vote: Option<v1::Vote>) -> Result<Vote, Missing> {
    let vote = vote.ok_or(Missing("vote"))?;
    let leader_id = vote.leader_id.ok_or(Missing("vote.leader_id"))?;
    Ok(Vote { leader_id: openraft::LeaderId::new(leader_id.term, leader_id.node_id), committed: vote.committed })
}

pub fn log_id_to_proto(log_id: &LogId) -> v1::LogId {
    let leader_id = v1::LeaderId { term: log_id.leader_id.term, node_id: log_id.leader_id.node_id };
    v1::LogId { leader_id: Some(leader_id), index: log_id.index }
}

pub fn log_id(log_id: v1::LogId) -> Result<LogId, Missing> {
    let leader_id = log_id.leader_id.ok_or(Missing("log_id.leader_id"))?;
    Ok(LogId::new(CommittedLeaderId::new(leader_id.term, leader_id.node_id), log_id.index))
}

pub fn optional_log_id(id: Option<v1::LogId>) -> Result<Option<LogId>, Missing> {
    id.map(log_id).transpose()
}

fn membership_to_proto(membership: &Membership) -> v1::Membership {
    let configurations = membership.get_joint_config().iter();
    v1::Membership {
        configurations: configurations.map(|ids| v1::NodeSet { node_ids: ids.iter().copied().collect() }).collect(),
        nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
    }
}

fn membership(membership: v1::Membership) -> Membership {
    let configurations = membership.configurations.into_iter().map(|set| set.node_ids.into_iter().collect()).collect();
    let nodes: BTreeMap<NodeId, BasicNode> =
        membership.nodes.into_iter().map(|(id, address)| (id, BasicNode::new(address))).collect();
    Membership::new(configurations, nodes)
}

pub fn stored_membership_to_proto(stored: &StoredMembership) -> v1::StoredMembership {
    v1::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(stored.membership())),
    }
}

pub fn stored_membership(stored: Option<v1::StoredMembership>) -> Result<StoredMembership, Missing> {
    let Some(stored) = stored else { return Ok(StoredMembership::default()) };
    Ok(StoredMembership::new(
        optional_log_id(stored.log_id)?,
        membership(stored.membership.ok_or(Missing("stored_membership.membership"))?),
    ))
}

pub fn entry_to_proto(entry: &Entry) -> v1::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(Empty {}),
        EntryPayload::Normal(proposal) => Payload::Proposal(proposal.clone()),
        EntryPayload::Membership(membership) => Payload::Membership(membership_to_proto(membership)),
    };
    v1::Entry { log_id: Some(log_id_to_proto(&entry.log_id)), payload: Some(payload) }
}

pub fn entry(entry: v1::Entry) -> Result<Entry, Missing> {
    let payload = match entry.payload.ok_or(Missing("entry.payload"))? {
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Proposal(proposal) => EntryPayload::Normal(proposal),
        Payload::Membership(stored) => EntryPayload::Membership(membership(stored)),
    };
    Ok(Entry { log_id: log_id(entry.log_id.ok_or(Missing("entry.log_id"))?)?, payload })
}

/// An entry as it lies on disk.
pub fn decode_entry(value: Vec<u8>) -> Result<Entry, StoreError> {
    let stored = v1::Entry::decode(bytes::Bytes::from(value))
        .map_err(|error| StoreError::Corrupt(format!("an entry of the log: {error}")))?;
    Ok(entry(stored)?)
}

pub fn append_request_to_proto(
    group: u32,
    request: &raft::AppendEntriesRequest<TypeConfig>,
    sent_time: i64,
) -> v1::AppendEntriesRequest {
    v1::AppendEntriesRequest {
        group,
        vote: Some(vote_to_proto(&request.vote)),
        previous_log_id: request.prev_log_id.as_ref().map(log_id_to_proto),
        entries: request.entries.iter().map(entry_to_proto).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_proto),
        sent_time,
    }
}

pub fn append_request(request: v1::AppendEntriesRequest) -> Result<raft::AppendEntriesRequest<TypeConfig>, Missing> {
    Ok(raft::AppendEntriesRequest {
        vote: vote(request.vote)?,
        prev_log_id: optional_log_id(request.previous_log_id)?,
        entries: request.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
        leader_commit: optional_log_id(request.leader_commit)?,
    })
}

pub fn append_response_to_proto(
    response: &raft::AppendEntriesResponse<NodeId>,
    received_time: i64,
) -> v1::AppendEntriesResponse {
    let outcome = match response {
        raft::AppendEntriesResponse::Success => Outcome::Success(Empty {}),
        raft::AppendEntriesResponse::PartialSuccess(Some(id)) => Outcome::PartialSuccess(log_id_to_proto(id)),
        // Nothing matched: an empty log id, which no entry has.
        raft::AppendEntriesResponse::PartialSuccess(None) => Outcome::PartialSuccess(v1::LogId::default()),
        raft::AppendEntriesResponse::Conflict => Outcome::Conflict(Empty {}),
        raft::AppendEntriesResponse::HigherVote(vote) => Outcome::HigherVote(vote_to_proto(vote)),
    };
    v1::AppendEntriesResponse { outcome: Some(outcome), received_time }
}

pub fn append_response(response: v1::AppendEntriesResponse) -> Result<raft::AppendEntriesResponse<NodeId>, Missing> {
    Ok(match response.outcome.ok_or(Missing("append_entries_response.outcome"))? {
        Outcome::Success(_) => raft::AppendEntriesResponse::Success,
        Outcome::PartialSuccess(id) if id.leader_id.is_none() => raft::AppendEntriesResponse::PartialSuccess(None),
        Outcome::PartialSuccess(id) => raft::AppendEntriesResponse::PartialSuccess(Some(log_id(id)?)),
        Outcome::Conflict(_) => raft::AppendEntriesResponse::Conflict,
        Outcome::HigherVote(higher) => raft::AppendEntriesResponse::HigherVote(vote(Some(higher))?),
    })
}

pub fn vote_request_to_proto(group: u32, request: &raft::VoteRequest<NodeId>) -> v1::VoteRequest {
    v1::VoteRequest {
        group,
        vote: Some(vote_to_proto(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_proto),
    }
}

pub fn vote_request(request: v1::VoteRequest) -> Result<raft::VoteRequest<NodeId>, Missing> {
    Ok(raft::VoteRequest { vote: vote(request.vote)?, last_log_id: optional_log_id(request.last_log_id)? })
}

pub fn vote_response_to_proto(response: &raft::VoteResponse<NodeId>) -> v1::VoteResponse {
    v1::VoteResponse {
        vote: Some(vote_to_proto(&response.vote)),
        vote_granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to_proto),
    }
}

pub fn vote_response(response: v1::VoteResponse) -> Result<raft::VoteResponse<NodeId>, Missing> {
    Ok(raft::VoteResponse {
        vote: vote(response.vote)?,
        vote_granted: response.vote_granted,
        last_log_id: optional_log_id(response.last_log_id)?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn log_ids() -> impl Strategy<Value = LogId> {
        (any::<u64>(), any::<u64>(), any::<u64>())
            .prop_map(|(term, node, index)| LogId::new(CommittedLeaderId::new(term, node), index))
    }

    fn memberships() -> impl Strategy<Value = Membership> {
        let set = proptest::collection::btree_set(any::<u64>(), 1..4);
        (proptest::collection::vec(set, 1..3), "[a-z:/0-9]{0,20}").prop_map(|(configurations, address)| {
            let ids: BTreeSet<u64> = configurations.iter().flatten().copied().collect();
            let nodes: BTreeMap<_, _> = ids.into_iter().map(|id| (id, BasicNode::new(&address))).collect();
            Membership::new(configurations, nodes)
        })
    }

    proptest! {
        #[test]
        fn entries_survive_the_disk(
            id in log_ids(), members in memberships(), bytes in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let normal = EntryPayload::Normal(Bytes::from(bytes));
            for payload in [EntryPayload::Blank, normal, EntryPayload::Membership(members)] {
                let entry = Entry { log_id: id, payload };
                let decoded = decode_entry(entry_to_proto(&entry).encode_to_vec());
                prop_assert_eq!(decoded, Ok(entry));
            }
        }

        #[test]
        fn votes_and_memberships_survive(term: u64, node: u64, committed: bool, id in log_ids(), m in memberships()) {
            let mut stored = Vote::new(term, node);
            stored.committed = committed;
            prop_assert_eq!(vote(Some(vote_to_proto(&stored))), Ok(stored));
            let stored = StoredMembership::new(Some(id), m);
            prop_assert_eq!(stored_membership(Some(stored_membership_to_proto(&stored))), Ok(stored));
        }

        #[test]
        fn answers_survive(id in log_ids()) {
            use raft::AppendEntriesResponse::{Conflict, HigherVote, PartialSuccess, Success};
            let vote = Vote::new_committed(id.index, 3);
            for response in [Success, Conflict, HigherVote(vote), PartialSuccess(None), PartialSuccess(Some(id))] {
                let expected = format!("{response:?}");
                let back = append_response(append_response_to_proto(&response, 1));
                prop_assert_eq!(format!("{:?}", back.map_err(|m| m.to_string())), format!("Ok({expected})"));
            }
        }
    }
}

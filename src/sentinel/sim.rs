//! x
#[derive(Clone,Copy,Debug,PartialEq,Eq)]
pub enum Plant { NothingWaitsForTheDisk, EveryHelloIsBelieved, VotesTwice, OneVoteIsEnough, EpochIsNotSaved }

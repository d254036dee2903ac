//! Why a value or a line of the configuration is refused, and the only texts of it.
//!
//! The texts of values are those that Redis answers `CONFIG SET` with: clients and scripts match
//! on them. They serve for configuration files too.

use std::fmt;

/// Why a value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    // What CONFIG SET can answer too.
    NotABool,
    NotAnInteger,
    NotOctal,
    NotMemory,
    NotMemoryOrPercent,
    PercentTooLarge,
    OutOfRange { min: i64, max: i64 },
    OctalOutOfRange { max: i64 },
    NotOneOf(&'static [&'static str]),
    SaveAndNoSave,
    WrongArguments,
    SaveRules,
    BufferArguments,
    BufferClass,
    BufferLimits,
    MasterPort,
    TooManyAddresses,
    Percentile,
    PercentileRange,
    OomScores,
    KeyspaceEvents,
    NotAFileName(&'static str),
    NotADirName(&'static str),
    HostName,
    TitleTemplate,
    ControlByte,
    Cores,
    // What only a file can hold.
    UnknownDirective,
    UnbalancedQuotes,
    SentinelDirective,
    IncludeTooDeep,
    TooManyFiles,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::OutOfRange { min, max } => {
                return write!(f, "argument must be between {min} and {max} inclusive");
            }
            Self::OctalOutOfRange { max } => {
                return write!(f, "argument must be between 0 and {max:o} inclusive");
            }
            Self::NotOneOf(names) => {
                return write!(f, "argument(s) must be one of the following: {}", names.join(", "));
            }
            Self::NotAFileName(name) => {
                return write!(f, "{name} can't be a path, just a filename");
            }
            Self::NotADirName(name) => return write!(f, "{name} can't be a path, just a dirname"),
            Self::NotABool => "argument must be 'yes' or 'no'",
            Self::NotAnInteger => "argument couldn't be parsed into an integer",
            Self::NotOctal => "argument couldn't be parsed as an octal number",
            Self::NotMemory => "argument must be a memory value",
            Self::NotMemoryOrPercent => "argument must be a memory or percent value",
            Self::PercentTooLarge => "percentage argument must be less or equal to 100",
            Self::SaveAndNoSave => "shutdown options SAVE and NOSAVE can't be used simultaneously",
            Self::WrongArguments => "wrong number of arguments",
            Self::SaveRules => "Invalid save parameters",
            Self::BufferArguments => "Wrong number of arguments in buffer limit configuration.",
            Self::BufferClass => "Invalid client class specified in buffer limit configuration.",
            Self::BufferLimits => {
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            }
            Self::MasterPort => "Invalid master port",
            Self::TooManyAddresses => "Too many bind addresses specified.",
            Self::Percentile => "Invalid latency-tracking-info-percentiles parameters",
            Self::PercentileRange => {
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
            }
            Self::OomScores => {
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
            }
            Self::KeyspaceEvents => "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            Self::HostName => "Hostnames may only contain alphanumeric characters, hyphens or dots",
            Self::TitleTemplate => "template format is invalid or contains unknown variables",
            Self::ControlByte => "argument must not contain CR, LF or NUL",
            Self::Cores => "argument must be 'all', a count of cores, or a list of CPUs like 0-3,6",
            Self::UnknownDirective => "Bad directive or wrong number of arguments",
            Self::UnbalancedQuotes => "Unbalanced quotes in configuration line",
            Self::SentinelDirective => "sentinel directive while not in sentinel mode",
            Self::IncludeTooDeep => "include is nested too deeply: does a file include itself?",
            Self::TooManyFiles => "too many configuration files",
        };
        f.write_str(text)
    }
}

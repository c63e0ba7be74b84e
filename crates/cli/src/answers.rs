//! What may be said to an echo request instead of a reply, in words: those of iputils for people, and fixed ones for programs.

use serde_json::{Value, json};
use sunstar::{EchoAnswer, UnreachableCode};

/// What `ping` prints of it.
pub(crate) fn in_words(answer: EchoAnswer) -> String {
    let words = match answer {
        EchoAnswer::Reply => "Reply",
        EchoAnswer::TimeExceeded => "Time to live exceeded",
        EchoAnswer::ReassemblyTimeExceeded => "Frag reassembly time exceeded",
        EchoAnswer::TooBig { mtu: 0 } => "Packet too big, and the router does not say what its MTU is",
        EchoAnswer::TooBig { mtu } => return format!("Packet too big, MTU is {mtu}"),
        EchoAnswer::ParameterProblem { pointer } => return format!("Parameter problem: pointer = {pointer}"),
        EchoAnswer::Unreachable(code) => match code {
            UnreachableCode::Network => "Destination Net Unreachable",
            UnreachableCode::Host => "Destination Host Unreachable",
            UnreachableCode::Protocol => "Destination Protocol Unreachable",
            UnreachableCode::Port => "Destination Port Unreachable",
            UnreachableCode::FragmentationNeeded => "Packet too big",
            UnreachableCode::SourceRouteFailed => "Source Route Failed",
            UnreachableCode::NetworkUnknown => "Destination Net Unknown",
            UnreachableCode::HostUnknown => "Destination Host Unknown",
            UnreachableCode::SourceHostIsolated => "Source Host Isolated",
            UnreachableCode::NetworkProhibited => "Destination Net Prohibited",
            UnreachableCode::HostProhibited => "Destination Host Prohibited",
            UnreachableCode::NetworkTypeOfService => "Destination Net Unreachable for Type of Service",
            UnreachableCode::HostTypeOfService => "Destination Host Unreachable for Type of Service",
            UnreachableCode::CommunicationProhibited => "Packet filtered",
            UnreachableCode::HostPrecedenceViolation => "Precedence Violation",
            UnreachableCode::PrecedenceCutoff => "Precedence Cutoff",
            UnreachableCode::Other(code) => return format!("Dest Unreachable, Bad Code: {code}"),
        },
    };
    words.to_owned()
}

/// The same for programs: `what`, and the number that belongs to it.
pub(crate) fn to_json(answer: EchoAnswer) -> Value {
    match answer {
        EchoAnswer::Reply => json!({ "what": "reply" }),
        EchoAnswer::TimeExceeded => json!({ "what": "time_exceeded" }),
        EchoAnswer::ReassemblyTimeExceeded => json!({ "what": "reassembly_time_exceeded" }),
        EchoAnswer::Unreachable(code) => json!({ "what": "unreachable", "code": u8::from(code) }),
        EchoAnswer::TooBig { mtu } => json!({ "what": "too_big", "mtu": mtu }),
        EchoAnswer::ParameterProblem { pointer } => {
            json!({ "what": "parameter_problem", "pointer": pointer })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_ping() {
        for (answer, words) in [
            (EchoAnswer::TimeExceeded, "Time to live exceeded"),
            (EchoAnswer::Unreachable(UnreachableCode::Host), "Destination Host Unreachable"),
            (EchoAnswer::Unreachable(UnreachableCode::CommunicationProhibited), "Packet filtered"),
            (EchoAnswer::Unreachable(UnreachableCode::Other(77)), "Dest Unreachable, Bad Code: 77"),
            (EchoAnswer::TooBig { mtu: 1_300 }, "Packet too big, MTU is 1300"),
            (EchoAnswer::ParameterProblem { pointer: 8 }, "Parameter problem: pointer = 8"),
        ] {
            assert_eq!(in_words(answer), words);
        }
    }

    #[test]
    fn for_programs_every_number_has_a_name() {
        let filtered = EchoAnswer::Unreachable(UnreachableCode::CommunicationProhibited);
        assert_eq!(to_json(filtered), json!({ "what": "unreachable", "code": 13 }));
        assert_eq!(to_json(EchoAnswer::TooBig { mtu: 1_300 }), json!({ "what": "too_big", "mtu": 1_300 }));
    }
}

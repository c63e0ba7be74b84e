//! What a shard counts. Every drop has a name.

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($(#[$outer:meta])* $name:ident { $($body:tt)+ }) => {
        sunstar_packet::counters! {
            $(#[$outer])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(default)]
            pub struct $name { $($body)+ }
        }
    };
}

/// One struct of several groups of counters, behind those that are in none.
macro_rules! groups {
    (
        $(#[$outer:meta])*
        $name:ident {
            $($(#[doc = $doc:literal])+ $single:ident),+;
            $($(#[$of_group:meta])+ $group:ident: $type:ident,)+
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $single: u64,)+
            $($(#[$of_group])+ pub $group: $type,)+
        }

        impl $name {
            /// Every counter, as its group (which may be nothing), its name and its count.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                let singles = [$(("", stringify!($single), self.$single)),+].into_iter();
                singles$(.chain(self.$group.iter().map(|(name, count)| (stringify!($group), name, count))))+
            }

            /// Every counter's group, its name, and what it counts; in the order of [`Counters::iter`].
            pub fn meanings() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
                let singles = [$(("", stringify!($single), concat!($($doc),+).trim_ascii())),+].into_iter();
                singles$(.chain($type::MEANINGS.iter().map(|(name, meaning)| {
                    (stringify!($group), *name, *meaning)
                })))+
            }
        }
    };
}

counters! {
    /// Packets dropped, by reason.
    Drops {
        /// A frame, or a header in it, ended early.
        truncated,
        /// A header that cannot be: version, length fields, data offset.
        malformed,
        /// A wrong IPv4, ICMP, IGMP, UDP or TCP checksum.
        bad_checksum,
        /// A frame for another station.
        other_station,
        /// An EtherType nobody here knows, IPv6 for the time being among them.
        unknown_ether_type,
        /// A packet for an address that is not ours.
        not_for_us,
        /// A source or destination that must not appear (RFC 1122 section 3.2.1.3, RFC 9293 MUST-57, MUST-63).
        martian,
        /// A source route (RFC 7126).
        source_route,
        /// A fragment that was there already.
        duplicate_fragment,
        /// A fragment that contradicts others of its datagram (RFC 5722), is one too many, or belongs to a datagram
        /// given up for such a one.
        bad_fragment,
        /// Incomplete datagrams that made room for others.
        reassembly_full,
        /// Datagrams whose last fragment did not come in time.
        reassembly_timeout,
        /// A transport protocol nobody here knows.
        unknown_protocol,
        /// A filter dropped it.
        filtered,
        /// An ARP packet that is no valid question or answer for us.
        bad_arp,
        /// An ARP answer nobody asked for (RFC 5227).
        unsolicited_arp,
        /// The neighbour cache was full of reachable entries.
        neighbor_cache_full,
        /// A packet that waited for a neighbour, pushed out by a later one.
        neighbor_queue_full,
        /// A packet whose next hop does not answer.
        host_unreachable,
        /// No route to where the packet has to go.
        no_route,
        /// An ICMP message of a kind that is not for a host, or that answers nothing.
        icmp_ignored,
        /// An ICMP message that a packet was too big, which was not believed or said nothing new (RFC 5927 section 7).
        too_big_ignored,
        /// An ICMP answer that was not sent, because of the rate limit (RFC 1812 section 4.3.2.8).
        icmp_limited,
        /// An IGMP message from beyond the link, or a query that is none to be answered (RFC 3376 sections 4 and 9.1).
        bad_igmp,
        /// An IGMP message that is not for a host, about a group nobody here receives, or that answers nothing.
        igmp_ignored,
        /// A queue of short answers was full.
        reply_queue_full,
        /// No UDP socket on that port.
        udp_no_socket,
        /// The receive buffer of a UDP or echo socket was full.
        receive_buffer_full,
        /// No TCP connection or listener for the segment.
        tcp_no_connection,
        /// A segment that is not acceptable (RFC 9293 section 3.10.7.4, first check).
        tcp_unacceptable,
        /// An old timestamp (RFC 7323 section 5).
        tcp_paws,
        /// An acknowledgement of nothing we sent, or too old (RFC 5961 section 5).
        tcp_bad_acknowledgement,
        /// A RST or SYN in the window, but not where it had to be (RFC 5961 sections 3 and 4).
        tcp_blind_attack,
        /// A SYN for a listener whose half-open connections are at their cap.
        syn_queue_full,
        /// An accepted connection for which the accept queue had no place.
        accept_queue_full,
        /// Out-of-order data beyond what a connection may hold.
        tcp_out_of_order_full,
        /// Data for a connection whose application has closed.
        tcp_after_close,
        /// No buffer was free for it.
        no_buffer,
        /// The loopback ring was full.
        loopback_full,
        /// A sibling's data ring was full.
        mesh_full,
        /// A packet for a sibling, while every loan of the pool was out.
        no_loan,
    }
}

counters! {
    /// What went through IP.
    IpCounters {
        /// Packets received and well formed.
        received,
        /// Bytes of those.
        received_bytes,
        /// Packets sent.
        sent,
        /// Bytes of those.
        sent_bytes,
        /// Packets a filter took.
        taken_by_filter,
        /// Multicast or broadcast packets received.
        group_received,
    }
}

counters! {
    /// What was cut, and put together.
    ReassemblyCounters {
        /// Fragments received for us.
        fragments_received,
        /// Datagrams put together.
        reassembled,
        /// Datagrams that belong to a sibling, as their ports tell once they are whole, and were handed over.
        forwarded,
        /// Datagrams cut to be sent.
        fragmented,
        /// Fragments sent.
        fragments_sent,
    }
}

counters! {
    /// What went through ICMP, IGMP and ARP.
    ControlCounters {
        /// Echo requests answered.
        echo_answered,
        /// Echo replies delivered to a socket.
        echo_replies_received,
        /// Errors sent.
        errors_sent,
        /// Errors received that concerned a socket.
        errors_received,
        /// IGMP queries received.
        igmp_queries_received,
        /// IGMP reports sent; one of version 3 may be about many groups.
        igmp_reports_sent,
        /// IGMP leaves sent, of version 2.
        igmp_leaves_sent,
        /// IGMP reports not sent, because another host had sent one (RFC 2236 section 3).
        igmp_suppressed,
        /// ICMP messages that a packet was too big which were believed (RFC 1191).
        too_big_believed,
        /// ARP requests sent.
        arp_requests_sent,
        /// ARP replies sent.
        arp_replies_sent,
        /// Announcements of addresses of other stations (RFC 5227 section 2.3).
        announcements_received,
        /// Claims of other stations to addresses of this host (RFC 5227).
        address_conflicts,
        /// Announcements in answer to such claims.
        address_defences,
        /// Neighbours that were resolved.
        neighbors_resolved,
        /// Neighbours that did not answer.
        neighbors_failed,
    }
}

counters! {
    /// What went through UDP.
    UdpCounters {
        /// Datagrams delivered to a socket.
        received,
        /// Datagrams sent.
        sent,
    }
}

counters! {
    /// What went through TCP.
    TcpCounters {
        /// Segments received; a coalesced one counts once.
        segments_received,
        /// Segments built; one that the device cuts counts once.
        segments_built,
        /// Segments built that the device cuts.
        segments_offloaded,
        /// Segments received that the device had coalesced.
        segments_coalesced,
        /// Payload bytes received in order.
        bytes_received,
        /// Payload bytes sent for the first time.
        bytes_sent,
        /// Segments sent again.
        retransmissions,
        /// Retransmission timeouts.
        timeouts,
        /// Fast retransmissions entered (RFC 5681, RFC 6675).
        fast_recoveries,
        /// Connections opened from here.
        active_opens,
        /// Connections opened from elsewhere.
        passive_opens,
        /// Connections that ended in order.
        closed,
        /// Connections aborted by us or the peer, or timed out.
        aborted,
        /// RST segments sent.
        resets_sent,
        /// RST segments accepted.
        resets_received,
        /// Challenge ACKs sent (RFC 5961).
        challenge_acks,
        /// Window probes sent.
        window_probes,
        /// Keepalive probes sent.
        keepalives,
        /// Connections that have found out that large segments vanish on their path, and no router says so (RFC 8899).
        black_holes,
        /// Larger segments sent to find out whether their path takes them (RFC 8899).
        path_probes_sent,
        /// Such segments that were acknowledged.
        path_probes_acknowledged,
        /// Such segments that were lost.
        path_probes_lost,
        /// Duplicate ACKs received.
        duplicate_acks,
        /// Segments received out of order and kept.
        out_of_order,
        /// Connections reset at close because too many finish without an owner already.
        orphans_refused,
        /// Connections in TIME-WAIT that made room for a new one early (RFC 6191) or under pressure.
        time_wait_reused,
    }
}

counters! {
    /// What went between this shard and its siblings.
    MeshCounters {
        /// Packets that arrived here and were handed to the shard they belong to.
        forwarded,
        /// Packets that a sibling was given behind IP: by a filter, as a whole of fragments, or because it speaks for all.
        handed_over,
        /// Packets that siblings handed over.
        received,
        /// Copies of group datagrams handed to siblings; all of one datagram share its buffer.
        group_forwarded,
        /// Control messages told to siblings.
        control_told,
        /// Control messages heard from siblings.
        control_heard,
        /// News of neighbours and path MTUs that a sibling was not told, because it has not taken so many before: it asks
        /// for the neighbours that it needs.
        untold,
    }
}

counters! {
    /// What the DHCP client sent, received, and did not heed.
    DhcpCounters {
        /// DHCPDISCOVER messages sent.
        discovers_sent,
        /// DHCPREQUEST messages sent.
        requests_sent,
        /// DHCPDECLINE messages sent: the address was in use.
        declines_sent,
        /// DHCPRELEASE messages sent.
        releases_sent,
        /// DHCPOFFER messages heeded.
        offers_received,
        /// DHCPACK messages heeded.
        acks_received,
        /// DHCPNAK messages heeded.
        naks_received,
        /// Messages ignored because they are no answer of a DHCP server, or cannot be read.
        ignored_malformed,
        /// Messages ignored because they are about another transaction.
        ignored_transaction,
        /// Messages ignored because they are for another hardware address.
        ignored_hardware,
        /// Messages ignored because they are for another client identifier (RFC 6842).
        ignored_client,
        /// Messages ignored because nothing of the kind is waited for.
        ignored_state,
        /// Messages ignored because they are of another server than the one that was asked, or of none.
        ignored_server,
        /// Acknowledgements ignored because they are of another address than the one that was asked for.
        ignored_address,
        /// Offers and acknowledgements ignored because no host can have the address, or the time of the lease
        /// is missing.
        ignored_lease,
    }
}

groups! {
    /// Everything a shard counts.
    Counters {
        /// Turns taken.
        turns;
        /// Packets dropped, by reason.
        drops: Drops,
        /// What went through IP.
        ip: IpCounters,
        /// What was cut, and put together.
        reassembly: ReassemblyCounters,
        /// What went through ICMP, IGMP and ARP.
        control: ControlCounters,
        /// What went through UDP.
        udp: UdpCounters,
        /// What went through TCP.
        tcp: TcpCounters,
        /// What went between this shard and its siblings.
        mesh: MeshCounters,
        /// What the DHCP client did.
        dhcp: DhcpCounters,
    }
}

//! Options byte by byte: the layouts of other stacks, malformed lengths, and round trips.

use proptest::prelude::*;

use super::*;

const ORDERS: [OptionOrder; 2] = [OptionOrder::Linux, OptionOrder::Bsd];

fn emitted(options: &TcpOptions, order: OptionOrder) -> Vec<u8> {
    let mut out = [0xee; TcpOptions::MAX_LEN];
    let len = options.emit(order, &mut out).expect("forty bytes are always enough");
    assert_eq!(len, options.emitted_len(order));
    assert!(len.is_multiple_of(4));
    assert!(out[len..].iter().all(|byte| *byte == 0xee), "wrote behind its own length");
    for short in 0..len {
        let mut out = [0xee; TcpOptions::MAX_LEN];
        assert_eq!(options.emit(order, &mut out[..short]), Err(NoRoom { needed: len }));
        assert_eq!(out, [0xee; TcpOptions::MAX_LEN]);
    }
    out[..len].to_vec()
}

fn syn() -> TcpOptions {
    TcpOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 0x0102_0304, echo: 0 }),
        ..TcpOptions::default()
    }
}

fn blocks(count: u32) -> SackBlocks {
    (0..count).map(|i| (SeqNumber(i * 100), SeqNumber(i * 100 + 50))).collect()
}

#[test]
fn a_syn_looks_like_the_one_of_linux() {
    let with = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
    assert_eq!(emitted(&syn(), OptionOrder::Linux), with);
    let without = [2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7];
    assert_eq!(emitted(&TcpOptions { timestamps: None, ..syn() }, OptionOrder::Linux), without);
    let no_sack = [2, 4, 5, 180, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
    assert_eq!(emitted(&TcpOptions { sack_permitted: false, ..syn() }, OptionOrder::Linux), no_sack);
}

#[test]
fn a_syn_looks_like_the_one_of_freebsd() {
    let with = [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0];
    assert_eq!(emitted(&syn(), OptionOrder::Bsd), with);
    let without = [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 0, 0];
    assert_eq!(emitted(&TcpOptions { timestamps: None, ..syn() }, OptionOrder::Bsd), without);
    let no_sack = [2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0];
    assert_eq!(emitted(&TcpOptions { sack_permitted: false, ..syn() }, OptionOrder::Bsd), no_sack);
}

#[test]
fn a_segment_with_timestamps_has_the_aligned_layout_in_either_order() {
    let timestamps = Some(Timestamps { value: 0x0102_0304, echo: 0x0506_0708 });
    let options = TcpOptions { timestamps, ..TcpOptions::default() };
    for order in ORDERS {
        let bytes = emitted(&options, order);
        assert_eq!(bytes, [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes, options.lay_out(order).as_slice(), "the short way and the long way differ");
        assert_eq!(TcpOptions::parse(&bytes), Ok(options));
        assert_eq!(TcpOptions::walk(&bytes), Ok(options));
    }
}

#[test]
fn sack_blocks_are_cut_to_what_fits() {
    for order in ORDERS {
        let alone = TcpOptions { sack: blocks(4), ..TcpOptions::default() };
        let bytes = emitted(&alone, order);
        assert_eq!((bytes.len(), &bytes[..4]), (36, &[1, 1, 5, 34][..]));
        assert_eq!(TcpOptions::parse(&bytes), Ok(alone));

        let timestamps = Some(Timestamps::default());
        let bytes = emitted(&TcpOptions { timestamps, ..alone }, order);
        assert_eq!((bytes.len(), &bytes[12..16]), (40, &[1, 1, 5, 26][..]));
        let read = TcpOptions::parse(&bytes);
        assert_eq!(read, Ok(TcpOptions { timestamps, sack: blocks(3), ..TcpOptions::default() }));

        let crowded = TcpOptions {
            sack: blocks(4),
            user_timeout: Some(UserTimeout::from_duration(Duration::from_secs(90))),
            ..syn()
        };
        let expected = TcpOptions { sack: blocks(1), ..crowded };
        assert_eq!(TcpOptions::parse(&emitted(&crowded, order)), Ok(expected));
    }
}

#[test]
fn nothing_to_say_takes_no_bytes() {
    for order in ORDERS {
        assert_eq!(emitted(&TcpOptions::default(), order), []);
    }
    assert_eq!(TcpOptions::parse(&[]), Ok(TcpOptions::default()));
}

#[test]
fn an_unknown_option_is_skipped_and_the_last_of_two_counts() {
    let bytes = [253, 4, 1, 2, 2, 4, 5, 180, 19, 2, 2, 4, 2, 24, 0, 2, 4, 9, 9];
    assert_eq!(TcpOptions::parse(&bytes), Ok(TcpOptions { mss: Some(536), ..TcpOptions::default() }));
}

#[test]
fn a_window_scale_above_fourteen_is_fourteen() {
    assert_eq!(TcpOptions::parse(&[3, 3, 15, 0]).map(|options| options.window_scale), Ok(Some(14)));
    assert_eq!(TcpOptions::parse(&[3, 3, 255, 0]).map(|options| options.window_scale), Ok(Some(14)));
    let options = TcpOptions { window_scale: Some(200), ..TcpOptions::default() };
    assert_eq!(emitted(&options, OptionOrder::Linux), [1, 3, 3, 14]);
}

#[test]
fn a_known_kind_takes_its_own_length_only() {
    let legal: [(u8, &[u8]); 6] = [
        (MSS, &[4]),
        (WINDOW_SCALE, &[3]),
        (SACK_PERMITTED, &[2]),
        (SACK, &[10, 18, 26, 34]),
        (TIMESTAMPS, &[10]),
        (USER_TIMEOUT, &[4]),
    ];
    for (kind, lengths) in legal {
        for length in 0..=255 {
            // NOPs behind the option, so that what is left of its data is harmless.
            let mut bytes = [NOP; 255];
            (bytes[0], bytes[1]) = (kind, length);
            assert_eq!(
                TcpOptions::parse(&bytes).is_ok(),
                lengths.contains(&length),
                "kind {kind}, length {length}"
            );
        }
    }
}

#[test]
fn any_other_kind_is_refused_for_an_impossible_length_only() {
    for kind in 2..=255 {
        if matches!(kind, MSS | WINDOW_SCALE | SACK_PERMITTED | SACK | TIMESTAMPS | USER_TIMEOUT) {
            continue;
        }
        for length in 0..=255 {
            let mut bytes = [NOP; TcpOptions::MAX_LEN];
            (bytes[0], bytes[1]) = (kind, length);
            let possible = (2..=TcpOptions::MAX_LEN).contains(&usize::from(length));
            let expected = if possible { Ok(TcpOptions::default()) } else { Err(ParseError::BadOption) };
            assert_eq!(TcpOptions::parse(&bytes), expected, "kind {kind}, length {length}");
        }
    }
}

#[test]
fn options_cut_off_anywhere_are_read_up_to_there_or_refused() {
    let bytes = emitted(&TcpOptions { sack: blocks(2), ..syn() }, OptionOrder::Linux);
    let ends_of_options = [0, 4, 6, 16, 17, 20, 21, 22, 40];
    for len in 0..=bytes.len() {
        assert_eq!(TcpOptions::parse(&bytes[..len]).is_ok(), ends_of_options.contains(&len), "{len} bytes");
    }
}

#[test]
fn a_user_timeout_is_in_seconds_or_else_in_minutes_rounded_up() {
    let of = |seconds| UserTimeout::from_duration(Duration::from_secs(seconds));
    assert_eq!(of(32_767), UserTimeout(0x7fff));
    assert_eq!(of(32_768), UserTimeout(0x8000 | 547));
    assert_eq!(of(32_768).duration(), Duration::from_secs(547 * 60));
    assert_eq!(of(u64::MAX).duration(), Duration::from_secs(32_767 * 60));
    assert_eq!(UserTimeout::from_duration(Duration::from_millis(1)).duration(), Duration::from_secs(1));
}

#[test]
fn a_fifth_sack_block_finds_no_room() {
    let mut sack = blocks(4);
    assert!(!sack.push(SeqNumber(1), SeqNumber(2)));
    assert_eq!(sack, blocks(4));
    assert_eq!(sack.len(), 4);
}

prop_compose! {
    fn any_options()(
        mss in any::<Option<u16>>(),
        window_scale in prop::option::of(0_u8..=14),
        sack_permitted in any::<bool>(),
        sack in prop::collection::vec(any::<(u32, u32)>(), 0..=4),
        timestamps in any::<Option<(u32, u32)>>(),
        user_timeout in any::<Option<u16>>(),
    ) -> TcpOptions {
        TcpOptions {
            mss,
            window_scale,
            sack_permitted,
            sack: sack.into_iter().map(|(left, right)| (SeqNumber(left), SeqNumber(right))).collect(),
            timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
            user_timeout: user_timeout.map(UserTimeout),
        }
    }
}

/// Equal but for SACK blocks that found no room.
fn assert_same_but_for_cut_blocks(read: TcpOptions, sent: TcpOptions) {
    assert!(sent.sack.starts_with(&read.sack));
    assert_eq!(TcpOptions { sack: sent.sack, ..read }, sent);
}

proptest! {
    #[test]
    fn what_is_emitted_parses_to_the_same(options in any_options()) {
        for order in ORDERS {
            let read = TcpOptions::parse(&emitted(&options, order)).expect("our own options are well formed");
            assert_same_but_for_cut_blocks(read, options);
        }
    }

    #[test]
    fn whatever_parses_re_emits_to_what_parses_to_the_same(bytes in option_like_bytes()) {
        prop_assert_eq!(TcpOptions::parse(&bytes), TcpOptions::walk(&bytes));
        if let Ok(options) = TcpOptions::parse(&bytes) {
            for order in ORDERS {
                let read = TcpOptions::parse(&emitted(&options, order)).expect("our own options are well formed");
                assert_same_but_for_cut_blocks(read, options);
            }
        }
    }
}

/// Bytes from options of all kinds, mostly of a legal length, now and then with one byte changed.
fn option_like_bytes() -> impl Strategy<Value = Vec<u8>> {
    let option =
        (prop::sample::select(vec![0_u8, 1, 2, 3, 4, 5, 8, 28, 200]), any::<[u8; 32]>(), 1_usize..=4)
            .prop_map(|(kind, data, blocks)| {
                let len = match kind {
                    END | NOP => return vec![kind],
                    MSS | USER_TIMEOUT => 2,
                    WINDOW_SCALE => 1,
                    SACK_PERMITTED => 0,
                    TIMESTAMPS => 8,
                    SACK => 8 * blocks,
                    _ => blocks,
                };
                [&[kind, len as u8 + 2], &data[..len]].concat()
            });
    let change = prop::option::weighted(0.3, any::<(prop::sample::Index, u8)>());
    (prop::collection::vec(option, 0..6), change).prop_map(|(options, change)| {
        let mut bytes = options.concat();
        bytes.truncate(TcpOptions::MAX_LEN);
        if let (Some((at, byte)), false) = (change, bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

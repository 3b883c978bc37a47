use super::*;

#[test]
fn p5_5_a_notice_reaches_the_client_and_looks_like_nothing_else() {
    let mut pair = Pair::new();
    pair.allow_at_client();
    pair.allow_at_gateway(Time::MAX);
    pair.send(&packet(to_wiki()));
    let mut wire = Wire::default();
    pair.gateway.notify(pair.to_client, b"{}", &mut wire);
    let [(_, datagram)] = &wire.sent[..] else { panic!("one datagram") };
    let out = open(&mut pair.client, datagram, there(), &mut Wire::default());
    assert_eq!(out, Some(Out::Notice(b"{}".to_vec())));
    let forged = [
        // A resource that answers from elsewhere cannot speak as the gateway.
        ("198.18.0.7:4711", "198.19.0.1:4711"),
        ("198.19.0.2:53", "198.19.0.1:4711"),
        ("198.19.0.2:4711", "198.19.0.1:53"),
        ("198.19.0.2:4711", "198.19.0.2:4711"),
        ("198.19.0.2:4711", "10.0.0.1:4711"),
    ];
    for (source, destination) in forged {
        let mut wire = Wire::default();
        pair.gateway.seal_own(pair.to_client, &packet(flow(source, destination)), &mut wire);
        let out = open(&mut pair.client, &wire.sent[0].1, there(), &mut Wire::default());
        assert_eq!(out, Some(Out::Denied(DenyReason::NoRule)), "{source} {destination}");
    }
}

#[test]
fn p6_6_a_question_reaches_the_gateway_without_a_rule_and_its_answer_the_device() {
    let mut pair = Pair::new();
    let end = |text: &str| Endpoint::from(text.parse::<SocketAddr>().unwrap());
    let rows = [
        ("198.19.0.1:7000", "198.19.0.53:53", true),
        ("[2001:2::1]:7000", "[2001:2::35]:53", true),
        ("198.19.0.1:7000", "198.19.0.53:54", false),
        ("198.19.0.1:7000", "198.19.0.52:53", false),
        ("198.19.0.9:7000", "198.19.0.53:53", false), // nobody's address
    ];
    for (source, destination, is_query) in rows {
        let mut packet = [0; 128];
        let length = datagram(flow(source, destination), b"who?", &mut packet).unwrap();
        let mut wire = Wire::default();
        pair.client.seal_own(pair.to_gateway, &packet[..length], &mut wire);
        let (site, _) = pair.settle(wire);
        let expected = Out::Query(end(source), b"who?".to_vec());
        assert_eq!(site == [expected], is_query, "{source} {destination} {site:?}");
        if is_query {
            let mut wire = Wire::default();
            pair.gateway.answer(pair.to_client, end(source), b"he", &mut wire);
            let device: Vec<Out> = wire
                .sent
                .iter()
                .filter_map(|(_, datagram)| open(&mut pair.client, datagram, there(), &mut Wire::default()))
                .collect();
            assert_eq!(device, [Out::Answer(b"he".to_vec())]);
        }
    }
}

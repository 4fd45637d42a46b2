from __future__ import annotations

import pytest

from anomaly_daemon.transport.card_numbers import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4111111111111111", "411111******1111"),
        ("stream 4111 1111 1111 1111 is late", "stream 411111******1111 is late"),
        ("4111-1111-1111-1111/web", "411111******1111/web"),
        ("378282246310005", "378282*****0005"),
        ("6304000000000000", "630400******0000"),
        ("2223003122003222", "222300******3222"),
        ("card 2720 9900 0000 0007 declined", "card 272099******0007 declined"),
        ("4222222222222", "422222***2222"),
        ("one 4111111111111111 and 5555555555554444.", "one 411111******1111 and 555555******4444."),
    ],
)
def test_a_card_number_is_shown_by_its_first_six_and_last_four_digits(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # a wrong check digit
        "1767225600000",  # milliseconds since 1970
        "1767225600000008",  # microseconds, with a right check digit
        "2220990000000002",  # Mastercard's begin with 2221 to 2720
        "2721000000000004",
        "222300312200328",  # and have 16 digits
        "22230031220032222",
        "0.4111111111111111",
        "a4111111111111111",
        "6f1c0a7be2d94b1f8a3e5d7c9b0f2a41",
        "2026-11-30T12:31:51.262191Z",
        "41111111",
        "press-07",
    ],
)
def test_what_is_no_card_number_stays(text: str) -> None:
    assert masked(text) == text

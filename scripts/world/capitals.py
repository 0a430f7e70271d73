"""Capitals. Neighbours in the table lie near one another, so that the false capital is from the same region."""

from .twins import table

TOPIC = "capitals"

# Left out: capitals that moved, are disputed or shared, and those of the capitals topic of make_pools.py.
CAPITALS = [
    ("Australia", "Canberra"), ("Papua New Guinea", "Port Moresby"), ("the Philippines", "Manila"),
    ("Thailand", "Bangkok"), ("Laos", "Vientiane"), ("Cambodia", "Phnom Penh"), ("South Korea", "Seoul"),
    ("China", "Beijing"), ("Mongolia", "Ulaanbaatar"), ("Bhutan", "Thimphu"), ("Nepal", "Kathmandu"),
    ("Bangladesh", "Dhaka"), ("Pakistan", "Islamabad"), ("Oman", "Muscat"), ("Qatar", "Doha"),
    ("Saudi Arabia", "Riyadh"), ("Jordan", "Amman"), ("Iraq", "Baghdad"), ("Lebanon", "Beirut"),
    ("Turkey", "Ankara"), ("Bulgaria", "Sofia"), ("Romania", "Bucharest"), ("Croatia", "Zagreb"),
    ("Slovenia", "Ljubljana"), ("Slovakia", "Bratislava"), ("Belgium", "Brussels"), ("Latvia", "Riga"),
    ("Lithuania", "Vilnius"), ("Estonia", "Tallinn"), ("Iceland", "Reykjavik"), ("Morocco", "Rabat"),
    ("Tunisia", "Tunis"), ("Senegal", "Dakar"), ("Ghana", "Accra"), ("Ethiopia", "Addis Ababa"),
    ("Uganda", "Kampala"), ("Zambia", "Lusaka"), ("Zimbabwe", "Harare"), ("Namibia", "Windhoek"),
    ("Mozambique", "Maputo"), ("Madagascar", "Antananarivo"), ("Brazil", "Brasilia"),
    ("Argentina", "Buenos Aires"), ("Uruguay", "Montevideo"), ("Paraguay", "Asuncion"), ("Ecuador", "Quito"),
    ("Venezuela", "Caracas"), ("Jamaica", "Kingston"),
]  # fmt: skip

PAIRS = table("The capital of {a} is {b}.", CAPITALS)

"""Texts that the shipped models were not made for: complaints about products, and German film reviews.

They are generated from parts, with a seed, and so are only about as varied as what people write: tens of thousands of
different texts with a few hundred different phrases.
"""

import random
from collections.abc import Sequence

#: What is complained about: a product, and what may be wrong with it.
_PRODUCTS = {
    "vacuum cleaner": ("loses suction after five minutes", "smells of burnt rubber", "has a cracked hose"),
    "pair of running shoes": ("came with two left shoes", "lost a sole in the first week", "runs two sizes small"),
    "phone": ("restarts ten times a day", "does not charge beyond 40 %", "has a dead line across the screen"),
    "fridge": (
        "leaks onto the kitchen floor",
        "freezes the salad and thaws the ice",
        "hums so loud that we cannot sleep",
    ),
    "office chair": ("sinks whenever I sit down", "arrived without screws", "has a wheel that scratches the parquet"),
    "coffee machine": ("drips next to the cup", "shows error E4 and nothing else", "makes lukewarm coffee"),
    "rain jacket": ("is soaked after ten minutes", "has a zip that came off in my hand", "turned my shirt blue"),
    "router": ("drops the connection every evening", "forgets its password", "never got past the blinking red light"),
    "mattress": ("sags in the middle already", "has a chemical smell that does not go away", "is 10 cm too short"),
    "toaster": ("burns one side and leaves the other white", "trips the fuse", "has a lever that does not stay down"),
    "set of headphones": (
        "works on the left ear only",
        "crackles above half the volume",
        "lost a cushion on day three",
    ),
    "pushchair": ("pulls to the left", "has brakes that do not hold", "does not fold, whatever the manual says"),
}
_OPENERS = (
    "I ordered this {product} on the {day} of {month}, order {number}.",
    "Bought the {product} for {price} euros and regret it.",
    "This is my third message about the {product} (ticket {number}).",
    "Do not buy this {product}.",
    "The {product} arrived {late} days late, in a torn box.",
    "We have owned the {product} for {late} weeks.",
)
_FAULTS = (
    "It {fault}.",
    "The thing {fault}, and {fault2}.",
    "Out of the box it {fault}.",
    "By now it {fault} as well.",
)
_SERVICE = (
    "Your hotline kept me waiting for {late} minutes and then hung up.",
    "Customer service answered with a standard letter and the wrong order number.",
    "The shop says the maker is responsible, the maker says the shop is.",
    "The return label that you sent expired before it got here.",
    "I sent pictures and the receipt twice; nobody has replied.",
    "The replacement has the same defect.",
    "The warranty card is in a language that I cannot read.",
    "The chat assistant closed my case without a human reading it.",
)
_DEMANDS = (
    "I want my {price} euros back.",
    "Please refund order {number} within {late} days.",
    "Send a courier to pick it up, at your cost.",
    "I expect a replacement or my money, not another voucher.",
    "If I hear nothing by the {day} of {month}, I will go to the consumer advice centre.",
    "One star, and only because zero is not possible.",
    "Never again from this shop.",
)
_MONTHS = ("January", "March", "April", "June", "August", "September", "November")

_GERMAN_OPENERS = (
    "Gestern habe ich {film} endlich im Kino gesehen.",
    "Von {film} hatte ich mir viel mehr versprochen.",
    "{film} ist für mich die Überraschung des Jahres.",
    "Nach dem Trailer zu {film} war ich skeptisch, nach dem Abspann war ich begeistert.",
    "Selten habe ich mich so gelangweilt wie bei {film}.",
    "Wer den Roman kennt, wird {film} mit anderen Augen sehen.",
    "Meine Frau wollte {film} unbedingt sehen, also sind wir am {day}. in die Spätvorstellung gegangen.",
    "Über {film} wurde schon alles geschrieben, und das meiste davon stimmt sogar.",
)
_GERMAN_FILMS = (
    *('"Der stille Imker"', '"Schneepflug"', '"Das letzte Konzert"', '"Nachtzug nach Görlitz"', '"Die Dolmetscherin"'),
    *('"Zwölf Stühle zu viel"', '"Am Rand der Stadt"', '"Winterschlussverkauf"', '"Kein Wort davon"', '"Möwen"'),
)
_GERMAN_PRAISE = (
    "Die {who} spielt so zurückhaltend, dass man jede Regung spürt.",
    "Das Drehbuch kommt ohne ein überflüssiges Wort aus.",
    "Die Bilder von der Küste bleiben einem noch tagelang im Kopf.",
    "Ich musste lachen, und zwei Minuten später hatte ich Tränen in den Augen.",
    "Die Musik hält sich zurück und trifft doch jeden Ton.",
    "Man merkt, dass sich hier jemand Zeit für seine Figuren genommen hat.",
    "Großartig besetzt bis in die kleinste Nebenrolle, besonders die {who}.",
    "Ein Film, über den man auf dem Heimweg noch lange redet.",
)
_GERMAN_BLAME = (
    "Die Handlung ist nach zehn Minuten vorhersehbar und nach zwanzig egal.",
    "Die {who} wirkt, als hätte sie das Drehbuch erst am Morgen bekommen.",
    "Die Dialoge klingen, als hätte sie niemand je laut gelesen.",
    "Nach einer Stunde bin ich kurz eingeschlafen und habe nichts verpasst.",
    "Warum muss heute jede Szene mit Geigen zugekleistert werden?",
    "Die Tricks sind billig, der Schnitt ist hektisch und der Ton ist viel zu laut.",
    "Für {price} Euro Eintritt darf man etwas mehr erwarten.",
    "Keine einzige Figur ist mir auch nur einen Augenblick nahegekommen.",
)
_GERMAN_WHO = ("Hauptdarstellerin", "Mutter", "Kommissarin", "junge Pianistin", "Schwester", "Lehrerin", "Nachbarin")
_GERMAN_ENDS = (
    "Unbedingt ansehen!",
    "Schade um die schöne Idee.",
    "Von mir gibt es {late} von 10 Punkten.",
    "Den werde ich mir nicht noch einmal antun.",
    "Ich freue mich schon auf den nächsten Film der Regisseurin.",
    "Wer ruhige Filme mag, wird nicht enttäuscht sein.",
    "Mehr als einen verregneten Sonntag ist das nicht wert.",
)


def complaints(count: int, seed: int) -> list[str]:
    """So many complaints in English about products."""
    draw = random.Random(seed)
    return [_complaint(draw) for _ in range(count)]


def german_reviews(count: int, seed: int) -> list[str]:
    """So many film reviews in German, good, bad and mixed."""
    draw = random.Random(seed)
    return [_german(draw) for _ in range(count)]


def _complaint(draw: random.Random) -> str:
    product = draw.choice(list(_PRODUCTS))
    fault, fault2 = draw.sample(_PRODUCTS[product], 2)
    parts = [
        draw.choice(_OPENERS),
        *draw.sample(_FAULTS, draw.randint(1, 2)),
        *draw.sample(_SERVICE, draw.randint(0, 3)),
        *draw.sample(_DEMANDS, draw.randint(0, 2)),
    ]
    return _filled(parts, draw, product=product, fault=fault, fault2=fault2, month=draw.choice(_MONTHS))


def _german(draw: random.Random) -> str:
    views = draw.choice((_GERMAN_PRAISE, _GERMAN_BLAME, _GERMAN_PRAISE + _GERMAN_BLAME))
    parts = [draw.choice(_GERMAN_OPENERS), *draw.sample(views, draw.randint(1, 6)), draw.choice(_GERMAN_ENDS)]
    return _filled(parts, draw, film=draw.choice(_GERMAN_FILMS), who=draw.choice(_GERMAN_WHO))


def _filled(parts: Sequence[str], draw: random.Random, **words: str) -> str:
    numbers = {
        "day": draw.randint(1, 28),
        "late": draw.randint(2, 9),
        "price": draw.randint(8, 900),
        "number": draw.randint(10_000, 99_999),
    }
    return " ".join(parts).format(**words, **numbers)

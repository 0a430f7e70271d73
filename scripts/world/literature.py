"""Authors and characters of famous books and plays."""

from .twins import table

TOPIC = "literature"

AUTHORS = [
    ("Moby-Dick", "Herman Melville"), ("Hamlet", "William Shakespeare"), ("Pride and Prejudice", "Jane Austen"),
    ("War and Peace", "Leo Tolstoy"), ("Crime and Punishment", "Fyodor Dostoevsky"), ("Jane Eyre", "Charlotte Bronte"),
    ("Wuthering Heights", "Emily Bronte"), ("Great Expectations", "Charles Dickens"), ("Ulysses", "James Joyce"),
    ("The Trial", "Franz Kafka"), ("The Hobbit", "J. R. R. Tolkien"), ("The Great Gatsby", "F. Scott Fitzgerald"),
    ("The Old Man and the Sea", "Ernest Hemingway"), ("The Grapes of Wrath", "John Steinbeck"),
    ("Animal Farm", "George Orwell"), ("Brave New World", "Aldous Huxley"), ("Madame Bovary", "Gustave Flaubert"),
    ("Les Miserables", "Victor Hugo"), ("The Three Musketeers", "Alexandre Dumas"), ("The Plague", "Albert Camus"),
    ("Treasure Island", "Robert Louis Stevenson"), ("Robinson Crusoe", "Daniel Defoe"), ("Dracula", "Bram Stoker"),
    ("The Time Machine", "H. G. Wells"), ("The Jungle Book", "Rudyard Kipling"), ("The Raven", "Edgar Allan Poe"),
    ("The Divine Comedy", "Dante"), ("Peer Gynt", "Henrik Ibsen"),
]  # fmt: skip
CHARACTERS = [
    ("Captain Ahab", "Moby-Dick"), ("Elizabeth Bennet", "Pride and Prejudice"), ("Ophelia", "Hamlet"),
    ("Heathcliff", "Wuthering Heights"), ("Bilbo Baggins", "The Hobbit"), ("Long John Silver", "Treasure Island"),
    ("Jean Valjean", "Les Miserables"), ("Raskolnikov", "Crime and Punishment"), ("Mowgli", "The Jungle Book"),
    ("Sancho Panza", "Don Quixote"), ("Huckleberry Finn", "The Adventures of Tom Sawyer"),
    ("Edward Rochester", "Jane Eyre"), ("the March Hare", "Alice in Wonderland"),
    ("Winston Smith", "Nineteen Eighty-Four"),
]  # fmt: skip

PAIRS = table("{a} was written by {b}.", AUTHORS) + table("{a} is a character in {b}.", CHARACTERS)

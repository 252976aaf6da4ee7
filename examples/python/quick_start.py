"""Open, write, read, range, transact: the first five minutes."""

import tempfile

import atomkv

with tempfile.TemporaryDirectory() as directory, atomkv.open(directory + "/data") as db:
    users = db["users"]
    users["ada"] = "countess"                     # survives kill -9
    users.put("ada", "programmer", sync=True)     # survives power loss
    print(users["ada"], users.get("alan"), len(users))

    people = db.table("people", serializer="json", ordered=True, text_keys=True)
    people.update({"ada": {"born": 1815}, "alan": {"born": 1912}, "grace": {"born": 1906}})
    for name, person in people.prefix("a"):
        print(name, person["born"])

    seen = people.get_entry("ada")
    people.put("ada", {"born": 1815, "died": 1852}, expect=seen)
    try:
        people.put("ada", {}, expect=seen)
    except atomkv.ConflictError as conflict:
        print("somebody was faster:", conflict.found)

    accounts = db.table("accounts", serializer="json")
    accounts.update({"alice": 100, "bob": 0})

    @db.transact
    def pay(t: atomkv.Transaction, payer: str, payee: str, amount: int) -> None:
        if t[accounts][payer] < amount:
            raise ValueError("not enough money")
        t[accounts][payer] -= amount
        t[accounts][payee] += amount

    pay("alice", "bob", 30)
    print(accounts["alice"], accounts["bob"])

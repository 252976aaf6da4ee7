// AtomKV from C++: put, get, scan, a transaction, an error. usage: hello [DIRECTORY]

#include <iostream>

#include "atomkv.hpp"

int main(int count, char **arguments)
try {
    auto db = atomkv::database::open(count > 1 ? arguments[1] : "hello-data");
    auto accounts = db.table("accounts", atomkv::table_options().ordered());

    accounts.put("ada", "100");
    accounts.put("alan", "50");
    std::cout << "ada has " << accounts.at("ada") << '\n';
    if (!accounts.get("grace"))
        std::cout << "grace is not there\n";

    // Tried again if others change what it reads; an exception ends it with nothing written.
    db.transact([&](atomkv::transaction &t) {
        const int from = std::stoi(t.get(accounts, "ada").value());
        const int to = std::stoi(t.get(accounts, "alan").value());
        t.put(accounts, "ada", std::to_string(from - 30));
        t.put(accounts, "alan", std::to_string(to + 30));
    });
    for (auto [key, value] : accounts.scan(atomkv::scan_options().prefix("a")))
        std::cout << key << " = " << value << '\n';

    try {
        accounts.put("ada", "0", atomkv::write_options().expect(atomkv::expect::absent()));
    } catch (const atomkv::conflict &error) {
        std::cout << "refused: " << error.name() << '\n';
    }
    db.close();
    return 0;
} catch (const atomkv::error &error) {
    std::cerr << error.name() << ": " << error.message() << '\n';
    return 1;
}

module example.org/atomkv-tour

go 1.19

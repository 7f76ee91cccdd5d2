module landmarks

go 1.24

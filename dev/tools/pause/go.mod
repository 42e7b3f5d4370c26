module t2i.dev/tools/pause

go 1.26.0

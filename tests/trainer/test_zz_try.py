def test_try(make_job):
    import time
    job = make_job("try")
    t=time.time()
    f = job.run()
    print(time.time()-t, f.status, f.message); print(f.log[-3000:])
    print([o.key for o in job.store.list("")]); print(job.losses())

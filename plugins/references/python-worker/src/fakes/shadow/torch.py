raise RuntimeError("the working folder is nobody's library")

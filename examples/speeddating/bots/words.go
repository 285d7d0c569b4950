package bots

import "math/rand/v2"

var names = []string{
	"Ada", "Alan", "Amara", "Anders", "Bea", "Bruno", "Chidi", "Clara", "Dario", "Dilek", "Elif", "Emil", "Farah", "Finn",
	"Gita", "Hugo", "Ines", "Ivo", "Jana", "Jonas", "Kaya", "Kofi", "Leila", "Luca", "Maja", "Mateo", "Mira", "Nils",
	"Noor", "Olga", "Oscar", "Paula", "Priya", "Ravi", "Rosa", "Sami", "Sofia", "Tariq", "Tove", "Uma", "Vera", "Viktor",
	"Wanda", "Xenia", "Yara", "Yusuf", "Zoe", "Zoran",
}

var genders = []string{"female", "male", "nonbinary", "unspecified"}

var greetings = []string{
	"Hi! Nice to meet you.",
	"Hello there! How is your evening?",
	"Hey! I'm a bot, but a friendly one.",
	"Good evening! Can you see my test pattern?",
}

var answers = []string{
	"That's interesting. Tell me more!",
	"Ha, I would not have guessed that.",
	"I feel the same, as far as a bot can.",
	"What do you like best about it?",
	"I mostly watch colour bars, but yours sounds better.",
	"And what brings you here tonight?",
	"I have to think about that for eight seconds, then I loop.",
	"Do you come here often?",
}

var questions = []string{
	"Coffee or tea?",
	"Mountains or the sea?",
	"What was the last book you could not put down?",
	"Which song never gets old?",
	"If you could live anywhere for a year, where?",
	"What are you really good at cooking?",
}

func pick(rnd *rand.Rand, from []string) string { return from[rnd.IntN(len(from))] }
